"""The Terraform engine (terraform or tofu): modules for AWS and IBM, with the programs' inputs and outputs."""

"""The Terraform engine (terraform or tofu): modules for AWS and IBM with the same inputs and outputs as the programs."""

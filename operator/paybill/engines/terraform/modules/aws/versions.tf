# A tenant's own part of AWS. Verified: Emulator (moto). The root that calls this module configures the provider.

terraform {
  required_version = ">= 1.6"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.81"
    }
  }
}

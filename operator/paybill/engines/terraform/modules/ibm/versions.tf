# A tenant's own part of IBM Cloud. unverified: it was parsed and its arguments compared with the provider's
# documentation, but neither planned nor applied. The root that calls this module configures the provider.

terraform {
  required_version = ">= 1.6"

  required_providers {
    ibm = {
      source  = "IBM-Cloud/ibm"
      version = ">= 1.70, < 3.0"
    }
  }
}

# The tenant's key in a Key Protect instance of its own (Bridge, Silo), reachable by private endpoints only.

resource "ibm_resource_instance" "kms" {
  count = local.dedicated ? 1 : 0

  name              = "${var.suffixed}-kms"
  service           = "kms"
  plan              = "tiered-pricing"
  location          = var.region
  resource_group_id = local.resource_group
  service_endpoints = "private"
  tags              = local.tags
}

resource "ibm_kms_key_with_policy_overrides" "tenant" {
  count = local.dedicated ? 1 : 0

  instance_id   = ibm_resource_instance.kms[0].guid
  key_name      = var.suffixed
  standard_key  = false
  force_delete  = false
  endpoint_type = "private"

  rotation {
    enabled        = true
    interval_month = 12
  }

  # With dual authorization on, Terraform could not delete the key at all, and it cannot be turned off again.
  dual_auth_delete {
    enabled = false
  }
}

resource "ibm_iam_authorization_policy" "bucket" {
  count = local.dedicated ? 1 : 0

  source_service_name         = "cloud-object-storage"
  source_resource_instance_id = ibm_resource_instance.cos[0].guid
  target_service_name         = "kms"
  target_resource_instance_id = ibm_resource_instance.kms[0].guid
  roles                       = ["Reader"]
  description                 = "Objects of tenant ${var.name} are encrypted with its key"
}

# A database is encrypted when it is made, so its service is let at the key before the database has an id. Backups are
# encrypted by another service on its behalf, hence the delegation.
resource "ibm_iam_authorization_policy" "database" {
  count = local.dedicated && local.server ? 1 : 0

  source_service_name         = "databases-for-postgresql"
  source_resource_group_id    = local.resource_group
  target_service_name         = "kms"
  target_resource_instance_id = ibm_resource_instance.kms[0].guid
  roles                       = ["Reader", "Authorization Delegator"]
  description                 = "The database of tenant ${var.name} is encrypted with its key"
}

locals {
  key_crn = local.dedicated ? ibm_kms_key_with_policy_overrides.tenant[0].crn : lookup(var.foundation, "key_crn", null)
}

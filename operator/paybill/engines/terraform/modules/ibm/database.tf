# The tenant's own Postgres: private endpoint, disk and backups encrypted with the tenant's key; IBM always uses TLS.
# There is no deletion protection to switch on: the engine refuses plans that take it away.

resource "ibm_database" "tenant" {
  count = local.server ? 1 : 0

  name              = var.name
  service           = "databases-for-postgresql"
  plan              = "standard"
  version           = split(".", var.database.version)[0]
  location          = var.region
  resource_group_id = local.resource_group
  service_endpoints = "private"
  tags              = local.tags

  key_protect_instance      = local.dedicated ? ibm_resource_instance.kms[0].id : null
  key_protect_key           = local.key_crn
  backup_encryption_key_crn = local.key_crn

  configuration = jsonencode({ max_connections = max(115, var.database.connections) })

  group {
    group_id = "member"

    members {
      allocation_count = var.database.high_availability ? 3 : 2
    }

    disk {
      allocation_mb = max(5, var.database.storage_gib) * 1024
    }
  }

  dynamic "allowlist" {
    for_each = toset(local.clients)

    content {
      address     = allowlist.value
      description = "Clients of tenant ${var.name}"
    }
  }

  timeouts {
    create = "60m"
    update = "80m"
    delete = "60m"
  }

  depends_on = [ibm_iam_authorization_policy.database]
}

# IBM keeps no password in a store of its own as other clouds do: the login is in the state, which must be encrypted.
resource "ibm_resource_key" "database" {
  count = local.server ? 1 : 0

  name                 = "${var.suffixed}-admin"
  role                 = "Administrator"
  resource_instance_id = ibm_database.tenant[0].id
  parameters           = { "service-endpoints" = "private" }
}

locals {
  login = local.server ? jsondecode(ibm_resource_key.database[0].credentials_json).connection.postgres : null
}

# The tenant's group in the cell's Secrets Manager. Secrets are put into it by whoever has them: made here, their values
# would be in the state.

resource "ibm_sm_secret_group" "tenant" {
  instance_id   = var.foundation["secrets_manager_id"]
  region        = var.region
  endpoint_type = "private"
  name          = var.suffixed
  description   = "Secrets of tenant ${var.name}"
}

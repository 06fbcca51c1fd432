# The trusted profile of the tenant's pods: linked to one ServiceAccount of one cluster, with rights on what is its own.

resource "ibm_iam_trusted_profile" "tenant" {
  name        = var.name
  description = "Pods of tenant ${var.name}"
}

resource "ibm_iam_trusted_profile_link" "pods" {
  profile_id = ibm_iam_trusted_profile.tenant.id
  cr_type    = lookup(var.foundation, "cluster_type", "IKS_SA")

  link {
    crn       = var.foundation["cluster_crn"]
    namespace = var.namespace
    name      = var.service_account
  }
}

resource "ibm_iam_trusted_profile_policy" "objects" {
  count = local.dedicated ? 1 : 0

  profile_id  = ibm_iam_trusted_profile.tenant.id
  roles       = ["Writer"]
  description = "The bucket of tenant ${var.name}"

  resources {
    service              = "cloud-object-storage"
    resource_instance_id = ibm_resource_instance.cos[0].guid
    resource_type        = "bucket"
    resource             = ibm_cos_bucket.tenant[0].bucket_name
  }
}

resource "ibm_iam_trusted_profile_policy" "secrets" {
  profile_id  = ibm_iam_trusted_profile.tenant.id
  roles       = ["SecretsReader"]
  description = "The secrets of tenant ${var.name}"

  resources {
    service              = "secrets-manager"
    resource_instance_id = var.foundation["secrets_manager_id"]
    resource_type        = "secret-group"
    resource             = ibm_sm_secret_group.tenant.secret_group_id
  }
}

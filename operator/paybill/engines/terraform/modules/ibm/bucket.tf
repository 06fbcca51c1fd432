# The tenant's bucket (Bridge, Silo): in an instance of its own, encrypted with its key, versioned. IBM has no switch
# that keeps a bucket from being opened to the public; access is by policies only, and these name the tenant alone.

resource "ibm_resource_instance" "cos" {
  count = local.dedicated ? 1 : 0

  name              = "${var.name}-cos"
  service           = "cloud-object-storage"
  plan              = "standard"
  location          = "global"
  resource_group_id = local.resource_group
  tags              = local.tags
}

resource "ibm_cos_bucket" "tenant" {
  count = local.dedicated ? 1 : 0

  bucket_name          = "${var.name}-${substr(sha256(var.tenant_uid), 0, 12)}"
  resource_instance_id = ibm_resource_instance.cos[0].id
  region_location      = var.region
  storage_class        = "smart"
  endpoint_type        = "private"
  key_protect          = local.key_crn
  force_delete         = !var.protect
  allowed_ip           = local.clients

  object_versioning {
    enable = true
  }

  depends_on = [ibm_iam_authorization_policy.bucket]
}

locals {
  bucket = local.dedicated ? ibm_cos_bucket.tenant[0].bucket_name : lookup(var.foundation, "bucket", null)
  prefix = local.dedicated || local.bucket == null ? null : "${var.name}/"
}

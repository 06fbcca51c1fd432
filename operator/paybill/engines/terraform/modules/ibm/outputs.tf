# What a stack hands over, by the names of StackOutputs.

output "database" {
  description = "Where the database server is, and its administrator's login."
  sensitive   = true
  value = local.server ? {
    host           = local.login.hosts[0].hostname
    port           = local.login.hosts[0].port
    admin_user     = local.login.authentication.username
    admin_password = local.login.authentication.password
    sslmode        = "verify-full"
    ca             = base64decode(local.login.certificate.certificate_base64)
  } : null
}

output "bucket" {
  description = "The bucket's name."
  value       = local.bucket
}

output "prefix" {
  description = "The tenant's prefix in a bucket that is shared."
  value       = local.prefix
}

output "key" {
  description = "The key's CRN."
  value       = local.key_crn
}

output "identity" {
  description = "The id of the trusted profile of the tenant's pods."
  value       = ibm_iam_trusted_profile.tenant.id
}

output "secret" {
  description = "The id of the tenant's group of secrets."
  value       = ibm_sm_secret_group.tenant.secret_group_id
}

output "network" {
  description = "The id of the tenant's own network."
  value       = local.silo ? ibm_is_vpc.tenant[0].id : null
}

# What a stack hands over, by the names of StackOutputs.

output "database" {
  description = "Where the database server is. Its administrator's password is in the AWS secret that admin_secret names."
  value = local.server ? {
    host         = aws_db_instance.tenant[0].address
    port         = aws_db_instance.tenant[0].port
    admin_user   = aws_db_instance.tenant[0].username
    admin_secret = aws_db_instance.tenant[0].master_user_secret[0].secret_arn
    sslmode      = "verify-full"
    ca           = lookup(var.foundation, "database_ca", null)
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
  description = "The key's ARN."
  value       = local.key_arn
}

output "identity" {
  description = "The ARN of the role of the tenant's pods."
  value       = aws_iam_role.tenant.arn
}

output "secret" {
  description = "The ARN of the tenant's secret."
  value       = aws_secretsmanager_secret.tenant.arn
}

output "network" {
  description = "The id of the tenant's own network."
  value       = local.silo ? aws_vpc.tenant[0].id : null
}

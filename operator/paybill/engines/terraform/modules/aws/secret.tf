# The tenant's secret in the cloud's store: made empty, so that no value is ever in a plan or a state.

resource "aws_secretsmanager_secret" "tenant" {
  name                    = var.suffixed
  description             = "For tenant ${var.tenant_id}"
  kms_key_id              = local.key_arn
  recovery_window_in_days = 30
}

resource "aws_secretsmanager_secret_policy" "tenant" {
  secret_arn          = aws_secretsmanager_secret.tenant.arn
  block_public_policy = true

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "NoOtherTenant"
      Effect    = "Deny"
      Principal = "*"
      Action    = "secretsmanager:*"
      Resource  = "*"
      Condition = local.other_tenants
    }]
  })
}

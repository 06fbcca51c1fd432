# The tenant's key. It names the tenant's role by a condition, not as a principal: a principal must exist, so the key
# would depend on the role, and a key that is retained with its data would keep the role alive.

resource "aws_kms_key" "tenant" {
  count = local.dedicated ? 1 : 0

  description             = "Data of tenant ${var.name}"
  enable_key_rotation     = true
  deletion_window_in_days = 30

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "Administration"
        Effect    = "Allow"
        Principal = { AWS = "arn:${local.partition}:iam::${local.account}:root" }
        Action = [
          "kms:CancelKeyDeletion", "kms:Create*", "kms:Delete*", "kms:Describe*", "kms:Disable*", "kms:Enable*",
          "kms:Get*", "kms:List*", "kms:Put*", "kms:Revoke*", "kms:ScheduleKeyDeletion", "kms:TagResource",
          "kms:UntagResource", "kms:Update*"
        ]
        Resource = "*"
      },
      {
        Sid       = "Tenant"
        Effect    = "Allow"
        Principal = { AWS = "arn:${local.partition}:iam::${local.account}:root" }
        Action    = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"]
        Resource  = "*"
        Condition = { ArnEquals = { "aws:PrincipalArn" = local.role_arn } }
      },
      {
        Sid       = "Services"
        Effect    = "Allow"
        Principal = { AWS = "arn:${local.partition}:iam::${local.account}:root" }
        Action    = ["kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"]
        Resource  = "*"
        Condition = {
          StringEquals = {
            "kms:CallerAccount" = local.account
            "kms:ViaService"    = [for service in ["rds", "s3", "secretsmanager"] : "${service}.${var.region}.amazonaws.com"]
          }
        }
      },
    ]
  })
}

resource "aws_kms_alias" "tenant" {
  count = local.dedicated ? 1 : 0

  name          = "alias/${var.suffixed}"
  target_key_id = aws_kms_key.tenant[0].key_id
}

locals {
  # Pooled tenants use the cell's key; without one, the account's own key of each service.
  key_arn = local.dedicated ? aws_kms_key.tenant[0].arn : lookup(var.foundation, "key_arn", null)
}

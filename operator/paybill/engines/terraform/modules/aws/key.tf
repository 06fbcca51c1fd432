# The tenant's key: the account administers it but reads nothing with it; use goes through the services that keep data.

resource "aws_kms_key" "tenant" {
  count = local.dedicated ? 1 : 0

  description             = "Data of tenant ${var.tenant_id}"
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
          "kms:CancelKeyDeletion", "kms:CreateAlias", "kms:DeleteAlias", "kms:Describe*", "kms:Disable*", "kms:Enable*",
          "kms:Get*", "kms:List*", "kms:PutKeyPolicy", "kms:RevokeGrant", "kms:RotateKeyOnDemand",
          "kms:ScheduleKeyDeletion", "kms:TagResource", "kms:UntagResource", "kms:UpdateAlias",
          "kms:UpdateKeyDescription"
        ]
        Resource = "*"
      },
      {
        Sid       = "UseThroughServices"
        Effect    = "Allow"
        Principal = { AWS = "arn:${local.partition}:iam::${local.account}:root" }
        Action = [
          "kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"
        ]
        Resource  = "*"
        Condition = { StringEquals = { "kms:ViaService" = values(local.services) } }
      },
      {
        # What is left open says only that the key exists. (An emulator that reads no conditions denies this to all.)
        Sid       = "NoOtherTenant"
        Effect    = "Deny"
        Principal = "*"
        NotAction = "kms:DescribeKey"
        Resource  = "*"
        Condition = local.other_tenants
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
  key_arn = local.dedicated ? aws_kms_key.tenant[0].arn : local.cell["key_arn"]
}

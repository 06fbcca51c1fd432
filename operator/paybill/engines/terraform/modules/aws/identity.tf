# The role of the tenant's pods: only that ServiceAccount's tokens that were made for AWS take it (sub and aud). Its tags
# are what key, bucket and secret know other tenants by.

locals {
  bucket_arn = "arn:${local.partition}:s3:::${local.bucket}"
}

resource "aws_iam_role" "tenant" {
  name                 = var.suffixed
  description          = "Pods of tenant ${var.tenant_id}"
  permissions_boundary = local.cell["permissions_boundary"]
  max_session_duration = 3600

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "TenantPods"
      Effect    = "Allow"
      Action    = "sts:AssumeRoleWithWebIdentity"
      Principal = { Federated = local.cell["oidc_provider_arn"] }
      Condition = {
        StringEquals = {
          "${local.cell["oidc_issuer"]}:aud" = "sts.amazonaws.com"
          "${local.cell["oidc_issuer"]}:sub" = "system:serviceaccount:${var.namespace}:${var.service_account}"
        }
      }
    }]
  })

  lifecycle {
    precondition {
      condition     = length(local.missing) == 0
      error_message = "The Cell does not give ${join(", ", local.missing)}: add it to spec.engine.foundation."
    }
  }
}

resource "aws_iam_role_policy" "tenant" {
  name = "tenant"
  role = aws_iam_role.tenant.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      # In a bucket that is shared, also the list of names is bound to the tenant's prefix.
      merge(
        { Sid = "List", Effect = "Allow", Action = ["s3:ListBucket"], Resource = [local.bucket_arn] },
        local.prefix == null ? {} : { Condition = { StringLike = { "s3:prefix" = ["${local.prefix}*"] } } }
      ),
      {
        Sid    = "Objects"
        Effect = "Allow"
        Action = [
          "s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:GetObjectVersion",
          "s3:ListMultipartUploadParts", "s3:PutObject"
        ]
        Resource = [local.prefix == null ? "${local.bucket_arn}/*" : "${local.bucket_arn}/${local.prefix}*"]
      },
      # Through S3 and Secrets Manager only: alone it opens nothing, also where tenants share the key.
      {
        Sid       = "Key"
        Effect    = "Allow"
        Action    = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"]
        Resource  = [local.key_arn]
        Condition = { StringEquals = { "kms:ViaService" = [local.services["s3"], local.services["secretsmanager"]] } }
      },
      {
        Sid      = "Secret"
        Effect   = "Allow"
        Action   = ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"]
        Resource = [aws_secretsmanager_secret.tenant.arn]
      },
    ]
  })
}

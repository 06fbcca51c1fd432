# The role of the tenant's pods: only that ServiceAccount's tokens that were made for AWS take it (sub and aud).

locals {
  oidc_issuer = split("oidc-provider/", var.foundation["oidc_provider_arn"])[1]
  bucket_arn  = local.bucket == null ? null : "arn:${local.partition}:s3:::${local.bucket}"

  reading_secrets = [{
    Sid      = "Secret"
    Effect   = "Allow"
    Action   = ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"]
    Resource = [aws_secretsmanager_secret.tenant.arn]
  }]

  objects = local.bucket == null ? [] : [{
    Sid    = "Objects"
    Effect = "Allow"
    Action = [
      "s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:GetObjectVersion",
      "s3:ListMultipartUploadParts", "s3:PutObject"
    ]
    Resource = [local.prefix == null ? "${local.bucket_arn}/*" : "${local.bucket_arn}/${local.prefix}*"]
  }]

  # In a bucket that is shared, also the list of names is bound to the tenant's prefix.
  listing = local.bucket == null ? [] : [merge(
    { Sid = "List", Effect = "Allow", Action = ["s3:ListBucket"], Resource = [local.bucket_arn] },
    local.prefix == null ? {} : { Condition = { StringLike = { "s3:prefix" = ["${local.prefix}*"] } } }
  )]

  encrypting = local.key_arn == null ? [] : [{
    Sid      = "Key"
    Effect   = "Allow"
    Action   = ["kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey*"]
    Resource = [local.key_arn]
  }]
}

resource "aws_iam_role" "tenant" {
  name                 = var.name
  description          = "Pods of tenant ${var.name}"
  permissions_boundary = lookup(var.foundation, "permissions_boundary", null)
  max_session_duration = 3600

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRoleWithWebIdentity"
      Principal = { Federated = var.foundation["oidc_provider_arn"] }
      Condition = {
        StringEquals = {
          "${local.oidc_issuer}:aud" = "sts.amazonaws.com"
          "${local.oidc_issuer}:sub" = "system:serviceaccount:${var.namespace}:${var.service_account}"
        }
      }
    }]
  })
}

resource "aws_iam_role_policy" "tenant" {
  name = "tenant"
  role = aws_iam_role.tenant.id

  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = concat(local.reading_secrets, local.objects, local.listing, local.encrypting)
  })
}

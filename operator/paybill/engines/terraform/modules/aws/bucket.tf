# The tenant's bucket (Bridge, Silo): never public, encrypted with the tenant's key, versioned, TLS only.

resource "aws_s3_bucket" "tenant" {
  count = local.dedicated ? 1 : 0

  # Names of buckets are taken worldwide: with the account's number this one is nobody else's.
  bucket        = "${var.suffixed}-${local.account}"
  force_destroy = !var.protect
}

resource "aws_s3_bucket_public_access_block" "tenant" {
  count = local.dedicated ? 1 : 0

  bucket                  = aws_s3_bucket.tenant[0].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "tenant" {
  count = local.dedicated ? 1 : 0

  bucket = aws_s3_bucket.tenant[0].id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "tenant" {
  count = local.dedicated ? 1 : 0

  bucket = aws_s3_bucket.tenant[0].id

  rule {
    bucket_key_enabled = true

    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.tenant[0].arn
    }
  }
}

resource "aws_s3_bucket_versioning" "tenant" {
  count = local.dedicated ? 1 : 0

  bucket = aws_s3_bucket.tenant[0].id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "tenant" {
  count = local.dedicated ? 1 : 0

  bucket = aws_s3_bucket.tenant[0].id

  rule {
    id     = "tidy"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }

    noncurrent_version_expiration {
      noncurrent_days = 30
    }
  }

  depends_on = [aws_s3_bucket_versioning.tenant]
}

resource "aws_s3_bucket_policy" "tenant" {
  count = local.dedicated ? 1 : 0

  bucket = aws_s3_bucket.tenant[0].id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "OnlyTLS"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:*"
        Resource  = [aws_s3_bucket.tenant[0].arn, "${aws_s3_bucket.tenant[0].arn}/*"]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
      {
        Sid       = "OnlyTLS12"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:*"
        Resource  = [aws_s3_bucket.tenant[0].arn, "${aws_s3_bucket.tenant[0].arn}/*"]
        Condition = { NumericLessThan = { "s3:TlsVersion" = "1.2" } }
      },
      {
        Sid       = "NoOtherTenant"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:*"
        Resource  = [aws_s3_bucket.tenant[0].arn, "${aws_s3_bucket.tenant[0].arn}/*"]
        Condition = local.other_tenants
      },
    ]
  })

  # A policy put while public policies are being blocked is refused for a moment.
  depends_on = [aws_s3_bucket_public_access_block.tenant]
}

locals {
  bucket = local.dedicated ? aws_s3_bucket.tenant[0].id : local.cell["bucket"]
  prefix = local.dedicated ? null : "${var.tenant_id}/"
}

# The tenant's own Postgres. AWS makes and keeps the administrator's password: it is in no plan and no state.

locals {
  # RDS allows about 112 connections per GiB of memory (max_connections = DBInstanceClassMemory / 9531392).
  classes = [
    { connections = 80, class = "db.t4g.micro" },
    { connections = 180, class = "db.t4g.small" },
    { connections = 400, class = "db.t4g.medium" },
    { connections = 850, class = "db.t4g.large" },
  ]

  fitting  = local.server ? [for one in local.classes : one.class if one.connections >= var.database.connections] : []
  class    = lookup(var.foundation, "instance_class", try(local.fitting[0], "db.m7g.xlarge"))
  major    = local.server ? split(".", var.database.version)[0] : ""
  db_group = "${var.suffixed}-pg${local.major}"
}

resource "aws_db_subnet_group" "tenant" {
  count = local.server ? 1 : 0

  name        = var.suffixed
  description = "Subnets of the database of tenant ${var.tenant_id}"
  subnet_ids  = local.subnet_ids
}

resource "aws_security_group" "database" {
  count = local.server ? 1 : 0

  name        = "${var.suffixed}-database"
  description = "The database of tenant ${var.tenant_id}"
  vpc_id      = local.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "database" {
  count = local.server ? 1 : 0

  security_group_id = aws_security_group.database[0].id
  description       = "Postgres from the cluster"
  ip_protocol       = "tcp"
  from_port         = 5432
  to_port           = 5432
  cidr_ipv4         = local.cell["vpc_cidr"]
}

resource "aws_db_parameter_group" "tenant" {
  count = local.server ? 1 : 0

  name        = local.db_group
  family      = "postgres${local.major}"
  description = "Postgres of tenant ${var.tenant_id}"

  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }

  parameter {
    name  = "ssl_min_protocol_version"
    value = "TLSv1.2"
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_db_instance" "tenant" {
  count = local.server ? 1 : 0

  identifier     = var.suffixed
  engine         = "postgres"
  engine_version = var.database.version
  instance_class = local.class
  port           = 5432

  username                      = "paybill"
  manage_master_user_password   = true
  master_user_secret_kms_key_id = local.key_arn

  storage_type          = "gp3"
  allocated_storage     = max(20, var.database.storage_gib)
  max_allocated_storage = 2 * max(20, var.database.storage_gib)
  storage_encrypted     = true
  kms_key_id            = local.key_arn

  multi_az                            = var.database.high_availability
  publicly_accessible                 = false
  db_subnet_group_name                = aws_db_subnet_group.tenant[0].name
  vpc_security_group_ids              = [aws_security_group.database[0].id]
  parameter_group_name                = aws_db_parameter_group.tenant[0].name
  iam_database_authentication_enabled = true
  ca_cert_identifier                  = "rds-ca-rsa2048-g1"

  backup_retention_period   = var.database.backup_days
  copy_tags_to_snapshot     = true
  delete_automated_backups  = false
  skip_final_snapshot       = false
  final_snapshot_identifier = "${var.suffixed}-final"
  deletion_protection       = var.protect

  auto_minor_version_upgrade      = true
  allow_major_version_upgrade     = false
  enabled_cloudwatch_logs_exports = ["postgresql"]

  timeouts {
    create = "60m"
    update = "80m"
    delete = "60m"
  }
}

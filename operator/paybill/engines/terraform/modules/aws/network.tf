# The tenant's own network (Silo): no way to the internet, peered with the cluster alone, the services it needs by
# endpoints inside of it.

locals {
  fixed_cidr = lookup(var.foundation, "network_cidr", "")

  # By name, never looked up: a zone that the cloud adds must not replace subnets.
  zones      = local.silo ? { for index, zone in slice(local.listed["availability_zones"], 0, min(3, length(local.listed["availability_zones"]))) : zone => index } : {}
  vpc_id     = local.silo ? aws_vpc.tenant[0].id : lookup(local.cell, "vpc_id", null)
  subnet_ids = local.silo ? [for zone in keys(local.zones) : aws_subnet.private[zone].id] : lookup(local.listed, "subnet_ids", [])
}

resource "aws_vpc" "tenant" {
  count = local.silo ? 1 : 0

  cidr_block           = local.fixed_cidr == "" ? null : local.fixed_cidr
  ipv4_ipam_pool_id    = local.fixed_cidr == "" ? local.cell["ipam_pool_id"] : null
  ipv4_netmask_length  = local.fixed_cidr == "" ? 24 : null
  enable_dns_support   = true
  enable_dns_hostnames = true

  tags = { Name = var.name }
}

resource "aws_default_security_group" "tenant" {
  count = local.silo ? 1 : 0

  # Without rules: whoever forgets to name a group reaches nothing and is reached by nothing.
  vpc_id = aws_vpc.tenant[0].id
}

resource "aws_subnet" "private" {
  for_each = local.zones

  vpc_id                  = aws_vpc.tenant[0].id
  availability_zone       = each.key
  cidr_block              = cidrsubnet(aws_vpc.tenant[0].cidr_block, 2, each.value)
  map_public_ip_on_launch = false

  tags = { Name = "${var.name}-${each.value}" }
}

resource "aws_route_table" "private" {
  count = local.silo ? 1 : 0

  vpc_id = aws_vpc.tenant[0].id

  tags = { Name = var.name }
}

resource "aws_route_table_association" "private" {
  for_each = local.zones

  subnet_id      = aws_subnet.private[each.key].id
  route_table_id = aws_route_table.private[0].id
}

# The only way in and out, so that the tenant's pods and the operator reach the database.
resource "aws_vpc_peering_connection" "cluster" {
  count = local.silo ? 1 : 0

  vpc_id      = aws_vpc.tenant[0].id
  peer_vpc_id = local.cell["vpc_id"]
  auto_accept = true

  tags = { Name = var.name }
}

resource "aws_route" "cluster" {
  count = local.silo ? 1 : 0

  route_table_id            = aws_route_table.private[0].id
  destination_cidr_block    = local.cell["vpc_cidr"]
  vpc_peering_connection_id = aws_vpc_peering_connection.cluster[0].id
}

resource "aws_route" "tenant" {
  for_each = toset(lookup(local.listed, "route_table_ids", []))

  route_table_id            = each.value
  destination_cidr_block    = aws_vpc.tenant[0].cidr_block
  vpc_peering_connection_id = aws_vpc_peering_connection.cluster[0].id
}

resource "aws_security_group" "endpoints" {
  count = local.silo ? 1 : 0

  name        = "${var.suffixed}-endpoints"
  description = "AWS services, from within the tenant's network"
  vpc_id      = aws_vpc.tenant[0].id
}

resource "aws_vpc_security_group_ingress_rule" "endpoints" {
  count = local.silo ? 1 : 0

  security_group_id = aws_security_group.endpoints[0].id
  description       = "HTTPS from within the network"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = aws_vpc.tenant[0].cidr_block
}

resource "aws_vpc_endpoint" "s3" {
  count = local.silo ? 1 : 0

  vpc_id            = aws_vpc.tenant[0].id
  service_name      = "com.amazonaws.${var.region}.s3"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = [aws_route_table.private[0].id]
}

resource "aws_vpc_endpoint" "interface" {
  for_each = local.silo ? toset(["kms", "secretsmanager"]) : toset([])

  vpc_id              = aws_vpc.tenant[0].id
  service_name        = "com.amazonaws.${var.region}.${each.key}"
  vpc_endpoint_type   = "Interface"
  private_dns_enabled = true
  subnet_ids          = local.subnet_ids
  security_group_ids  = [aws_security_group.endpoints[0].id]
}

resource "aws_flow_log" "tenant" {
  count = local.silo ? 1 : 0

  vpc_id               = aws_vpc.tenant[0].id
  traffic_type         = "ALL"
  log_destination_type = "s3"
  log_destination      = local.cell["flow_log_bucket_arn"]
}

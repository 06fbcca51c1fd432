# The tenant's own network (Silo): no way in or out of the internet, the services it needs by endpoints inside of it.

locals {
  cidr = lookup(var.foundation, "vpc_cidr", "10.64.0.0/16")

  # Named, never looked up: a zone that the cloud adds must not replace subnets.
  zones = split(",", lookup(var.foundation, "availability_zones", join(",", [for zone in ["a", "b", "c"] : "${var.region}${zone}"])))

  zone_indexes = local.silo ? { for index, zone in local.zones : zone => index } : {}
  vpc_id       = local.silo ? aws_vpc.tenant[0].id : lookup(var.foundation, "vpc_id", null)
  subnet_ids   = local.silo ? [for zone in local.zones : aws_subnet.private[zone].id] : compact(split(",", lookup(var.foundation, "subnet_ids", "")))

  # Who may reach the database: the tenant's network, and the cluster's pods where the Cell says which addresses they have.
  clients = compact(concat(local.silo ? [local.cidr] : [], split(",", lookup(var.foundation, "client_cidrs", ""))))
}

resource "aws_vpc" "tenant" {
  count = local.silo ? 1 : 0

  cidr_block           = local.cidr
  enable_dns_support   = true
  enable_dns_hostnames = true

  tags = { Name = var.name }
}

resource "aws_default_security_group" "tenant" {
  count = local.silo ? 1 : 0

  # Without rules: what forgets its security group reaches nothing and is reached by nothing.
  vpc_id = aws_vpc.tenant[0].id
}

resource "aws_subnet" "private" {
  for_each = local.zone_indexes

  vpc_id                  = aws_vpc.tenant[0].id
  availability_zone       = each.key
  cidr_block              = cidrsubnet(local.cidr, 4, each.value)
  map_public_ip_on_launch = false

  tags = { Name = "${var.name}-${each.key}" }
}

resource "aws_route_table" "private" {
  count = local.silo ? 1 : 0

  vpc_id = aws_vpc.tenant[0].id

  tags = { Name = var.name }
}

resource "aws_route_table_association" "private" {
  for_each = local.zone_indexes

  subnet_id      = aws_subnet.private[each.key].id
  route_table_id = aws_route_table.private[0].id
}

resource "aws_ec2_transit_gateway_vpc_attachment" "cell" {
  count = local.silo && contains(keys(var.foundation), "transit_gateway_id") ? 1 : 0

  transit_gateway_id = var.foundation["transit_gateway_id"]
  vpc_id             = aws_vpc.tenant[0].id
  subnet_ids         = local.subnet_ids
}

resource "aws_route" "cell" {
  for_each = length(aws_ec2_transit_gateway_vpc_attachment.cell) == 0 ? toset([]) : toset(compact(split(",", lookup(var.foundation, "client_cidrs", ""))))

  route_table_id         = aws_route_table.private[0].id
  destination_cidr_block = each.value
  transit_gateway_id     = var.foundation["transit_gateway_id"]

  depends_on = [aws_ec2_transit_gateway_vpc_attachment.cell]
}

resource "aws_security_group" "endpoints" {
  count = local.silo ? 1 : 0

  name        = "${var.name}-endpoints"
  description = "Endpoints of AWS services in the network of tenant ${var.name}"
  vpc_id      = aws_vpc.tenant[0].id
}

resource "aws_vpc_security_group_ingress_rule" "endpoints" {
  count = local.silo ? 1 : 0

  security_group_id = aws_security_group.endpoints[0].id
  description       = "TLS from the tenant's network"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = local.cidr
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

resource "aws_cloudwatch_log_group" "flow" {
  count = local.silo ? 1 : 0

  name              = "/paybill/${var.name}/flow"
  retention_in_days = 90
}

resource "aws_iam_role" "flow" {
  count = local.silo ? 1 : 0

  name                 = "${var.name}-flow"
  description          = "Writes the flow logs of tenant ${var.name}"
  permissions_boundary = lookup(var.foundation, "permissions_boundary", null)

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "vpc-flow-logs.amazonaws.com" }
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}

resource "aws_iam_role_policy" "flow" {
  count = local.silo ? 1 : 0

  name = "flow"
  role = aws_iam_role.flow[0].id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
      Resource = "${aws_cloudwatch_log_group.flow[0].arn}:*"
    }]
  })
}

resource "aws_flow_log" "tenant" {
  count = local.silo ? 1 : 0

  vpc_id               = aws_vpc.tenant[0].id
  traffic_type         = "ALL"
  log_destination_type = "cloud-watch-logs"
  log_destination      = aws_cloudwatch_log_group.flow[0].arn
  iam_role_arn         = aws_iam_role.flow[0].arn
}

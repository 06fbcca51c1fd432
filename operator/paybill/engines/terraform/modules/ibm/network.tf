# The tenant's own network (Silo): subnets without a public gateway, the default security group without rules, and an
# endpoint inside of it for the database.

locals {
  cidr    = lookup(var.foundation, "vpc_cidr", "10.64.0.0/16")
  zones   = split(",", lookup(var.foundation, "availability_zones", join(",", [for zone in ["1", "2", "3"] : "${var.region}-${zone}"])))
  indexes = local.silo ? { for index, zone in local.zones : zone => index } : {}
  clients = compact(concat(local.silo ? [local.cidr] : [], split(",", lookup(var.foundation, "client_cidrs", ""))))
}

resource "ibm_is_vpc" "tenant" {
  count = local.silo ? 1 : 0

  name                        = var.name
  resource_group              = local.resource_group
  address_prefix_management   = "manual"
  default_security_group_name = "${var.name}-default"
  no_sg_acl_rules             = true
  tags                        = local.tags
}

resource "ibm_is_vpc_address_prefix" "tenant" {
  for_each = local.indexes

  name = "${var.name}-${each.key}"
  vpc  = ibm_is_vpc.tenant[0].id
  zone = each.key
  cidr = cidrsubnet(local.cidr, 4, each.value)
}

# The default list has lost its rules together with the default security group; without any, nothing passes. Lists keep
# no connections in mind, so each way is allowed by a rule of its own.
resource "ibm_is_network_acl" "private" {
  count = local.silo ? 1 : 0

  name           = var.name
  vpc            = ibm_is_vpc.tenant[0].id
  resource_group = local.resource_group

  dynamic "rules" {
    for_each = local.clients

    content {
      name        = "in-${rules.key}"
      action      = "allow"
      direction   = "inbound"
      source      = rules.value
      destination = local.cidr
    }
  }

  dynamic "rules" {
    for_each = local.clients

    content {
      name        = "out-${rules.key}"
      action      = "allow"
      direction   = "outbound"
      source      = local.cidr
      destination = rules.value
    }
  }
}

resource "ibm_is_subnet" "private" {
  for_each = local.indexes

  name            = "${var.name}-${each.key}"
  vpc             = ibm_is_vpc.tenant[0].id
  zone            = each.key
  ipv4_cidr_block = ibm_is_vpc_address_prefix.tenant[each.key].cidr
  network_acl     = ibm_is_network_acl.private[0].id
  resource_group  = local.resource_group
}

resource "ibm_is_security_group" "database" {
  count = local.silo && local.server ? 1 : 0

  name           = "${var.name}-database"
  vpc            = ibm_is_vpc.tenant[0].id
  resource_group = local.resource_group
}

resource "ibm_is_security_group_rule" "database" {
  for_each = local.silo && local.server ? toset(local.clients) : toset([])

  group     = ibm_is_security_group.database[0].id
  direction = "inbound"
  remote    = each.value
  protocol  = "tcp"
  port_min  = local.login.hosts[0].port
  port_max  = local.login.hosts[0].port

  lifecycle {
    precondition {
      condition     = each.value != "0.0.0.0/0"
      error_message = "client_cidrs must not hold 0.0.0.0/0: a database is open to nobody by default."
    }
  }
}

resource "ibm_is_virtual_endpoint_gateway" "database" {
  count = local.silo && local.server ? 1 : 0

  name            = "${var.name}-database"
  vpc             = ibm_is_vpc.tenant[0].id
  resource_group  = local.resource_group
  security_groups = [ibm_is_security_group.database[0].id]
  tags            = local.tags

  target {
    crn           = ibm_database.tenant[0].id
    resource_type = "provider_cloud_service"
  }
}

resource "ibm_is_virtual_endpoint_gateway_ip" "database" {
  for_each = local.server ? local.indexes : {}

  gateway     = ibm_is_virtual_endpoint_gateway.database[0].id
  reserved_ip = ibm_is_subnet_reserved_ip.database[each.key].reserved_ip
}

resource "ibm_is_subnet_reserved_ip" "database" {
  for_each = local.server ? local.indexes : {}

  subnet = ibm_is_subnet.private[each.key].id
  name   = "${var.name}-database"
}

# The inputs of every engine, by the names of StackInputs, and what follows from them.
#
# What the tenants of a cell share comes by foundation, with the names that the Pulumi program for AWS has: account_id,
# oidc_provider_arn, oidc_issuer, permissions_boundary; Pooled: bucket, key_arn; Silo, or a server of one's own: vpc_id,
# vpc_cidr; a server without a Silo: subnet_ids; Silo: availability_zones, ipam_pool_id (or network_cidr, a fixed range),
# route_table_ids, flow_log_bucket_arn. Optional: partition, instance_class, database_ca.

variable "model" {
  type        = string
  description = "Pooled: only what is the tenant's alone. Bridge: its own bucket and key. Silo: its own network too."

  validation {
    condition     = contains(["Pooled", "Bridge", "Silo"], var.model)
    error_message = "model must be Pooled, Bridge or Silo."
  }
}

variable "level" {
  type        = string
  description = "What the tenant gets of a database; a server of its own is made only for Server."
}

variable "name" {
  type        = string
  description = "The stem of every physical name."
}

variable "suffixed" {
  type        = string
  description = "The stem of names that stay taken for days after a deletion."
}

variable "tags" {
  type        = map(string)
  description = "The marks that orphans are found by; the provider puts them on every resource."
}

variable "tenant_id" {
  type        = string
  description = "The registry's opaque id: what a tenant's role is known by."
}

variable "tenant_uid" {
  type        = string
  description = "The UID that the tenant's marks are made of."
}

variable "region" {
  type        = string
  description = "The region."
}

variable "namespace" {
  type        = string
  description = "The Kubernetes namespace whose pods get the tenant's identity."
}

variable "service_account" {
  type        = string
  description = "The ServiceAccount in that namespace."
}

variable "database" {
  type = object({
    connections       = number
    storage_gib       = number
    version           = string
    backup_days       = number
    high_availability = bool
  })
  default     = null
  description = "The database server; null: none."
}

variable "foundation" {
  type        = map(string)
  default     = {}
  description = "What the tenants of the cell share, by name."
}

variable "protect" {
  type        = bool
  default     = true
  description = "Deletion protection of what holds data. The engine lifts it for an approved destruction, nobody else."
}

locals {
  dedicated = var.model != "Pooled"
  silo      = var.model == "Silo"
  server    = var.level == "Server" && var.database != null

  # What is missing is said all at once, in the words of the other engines.
  needed = concat(
    ["account_id", "oidc_provider_arn", "oidc_issuer", "permissions_boundary"],
    local.dedicated ? [] : ["bucket", "key_arn"],
    local.silo || local.server ? ["vpc_id", "vpc_cidr"] : [],
    local.server && !local.silo ? ["subnet_ids"] : [],
    local.silo ? ["availability_zones", "route_table_ids", "flow_log_bucket_arn"] : [],
    local.silo && lookup(var.foundation, "network_cidr", "") == "" ? ["ipam_pool_id"] : [],
  )
  missing = [for name in local.needed : name if lookup(var.foundation, name, "") == ""]
  cell    = { for name in local.needed : name => lookup(var.foundation, name, "") }
  listed  = { for name, value in local.cell : name => compact([for one in split(",", value) : trimspace(one)]) }

  account   = local.cell["account_id"]
  partition = lookup(var.foundation, "partition", "aws")

  # Key, bucket and secret refuse the roles of other tenants, whatever their own policies allow. Null lets those pass
  # that are no tenant's: people, the operator, AWS.
  other_tenants = {
    Null            = { "aws:PrincipalTag/paybill-tenant" = "false" }
    StringNotEquals = { "aws:PrincipalTag/paybill-tenant" = var.tenant_id }
  }
  services = { for name in ["rds", "s3", "secretsmanager"] : name => "${name}.${var.region}.amazonaws.com" }
}

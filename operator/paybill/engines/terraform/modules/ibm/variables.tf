# The inputs of every engine, by the names of StackInputs, and what follows from them: names, tags, what there is.

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
  description = "The marks that orphans are found by; put on every resource that can bear tags."
}

variable "tenant_id" {
  type        = string
  description = "The registry's opaque id."
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
  description = "The Kubernetes namespace whose pods get the tenant's trusted profile."
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
  description = "What the tenants of the cell share, by name (see the page of this module in the documentation)."

  validation {
    condition     = lookup(var.foundation, "cluster_crn", "") != ""
    error_message = "The Cell does not give cluster_crn: add it to spec.engine.foundation."
  }

  validation {
    condition     = lookup(var.foundation, "secrets_manager_id", "") != ""
    error_message = "The Cell does not give secrets_manager_id: add it to spec.engine.foundation."
  }
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

  tags           = [for name, value in var.tags : "${name}:${value}"]
  resource_group = lookup(var.foundation, "resource_group_id", null)
}

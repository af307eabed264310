variable "name" {
  description = "What all resources are called."
  type        = string
  default     = "opendify"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,19}$", var.name))
    error_message = "At most 20 small letters, digits and hyphens, a letter first."
  }
}

variable "image" {
  description = "The image with its version or digest, such as 123456789012.dkr.ecr.eu-west-1.amazonaws.com/opendify:1.0.0."
  type        = string

  validation {
    condition     = can(regex("(:[^:/@]+|@sha256:[0-9a-f]{64})$", var.image)) && !endswith(var.image, ":latest")
    error_message = "An image without a fixed version cannot be rolled back."
  }
}

variable "image_repository_arn" {
  description = "The ECR repository that the image is pulled from; null where it is none of ECR's."
  type        = string
  default     = null
}

variable "dify_api_base" {
  description = "DIFY_API_BASE, such as https://dify.example.com/v1."
  type        = string
}

variable "settings" {
  description = "Further settings as variables of the process; no secrets."
  type        = map(string)
  default     = {}
}

variable "secret_arns" {
  description = "Secrets of Secrets Manager by the setting that they give: MODEL_CONFIG, API_KEYS and ADMIN_API_KEY at least."
  type        = map(string)

  validation {
    condition     = length(setsubtract(["MODEL_CONFIG", "API_KEYS", "ADMIN_API_KEY"], keys(var.secret_arns))) == 0
    error_message = "MODEL_CONFIG, API_KEYS and ADMIN_API_KEY are needed, since instances that share a store make no keys of their own."
  }
}

variable "kms_key_arn" {
  description = "The key that secrets, logs and Redis are encrypted with; null for the keys that AWS manages."
  type        = string
  default     = null
}

variable "redis_auth_token" {
  description = "The password of Redis. It is in the state, which must be encrypted."
  type        = string
  sensitive   = true

  validation {
    condition     = can(regex("^[A-Za-z0-9]{32,128}$", var.redis_auth_token))
    error_message = "32 to 128 letters and digits."
  }
}

variable "redis_node_type" {
  description = "The size of Redis; a conversation takes about a kilobyte."
  type        = string
  default     = "cache.t4g.small"
}

variable "vpc_id" {
  description = "The network that everything is in."
  type        = string
}

variable "public_subnet_ids" {
  description = "Where the load balancer is: at least two, in different zones."
  type        = list(string)

  validation {
    condition     = length(var.public_subnet_ids) >= 2
    error_message = "A load balancer needs two zones."
  }
}

variable "private_subnet_ids" {
  description = "Where the service and Redis are; with a way out to Dify, ECR, Secrets Manager and CloudWatch."
  type        = list(string)

  validation {
    condition     = length(var.private_subnet_ids) >= 2
    error_message = "Two zones, so that one may fail."
  }
}

variable "internal" {
  description = "Whether the load balancer is for the network alone; its subnets may then be private ones."
  type        = bool
  default     = false
}

variable "certificate_arn" {
  description = "The certificate of the name under which the service is asked."
  type        = string
}

variable "allowed_cidrs" {
  description = "Addresses that may ask."
  type        = list(string)
  default     = ["0.0.0.0/0"]
}

variable "dify_ports" {
  description = "Ports besides 443 on which Dify is asked."
  type        = set(number)
  default     = []
}

variable "access_logs_bucket" {
  description = "A bucket for the load balancer's log; null for none."
  type        = string
  default     = null
}

variable "deletion_protection" {
  description = "Whether the load balancer resists being deleted."
  type        = bool
  default     = true
}

variable "cpu" {
  description = "Processor of one instance; 1024 is a whole one."
  type        = number
  default     = 1024
}

variable "memory" {
  description = "Memory of one instance in MiB."
  type        = number
  default     = 2048
}

variable "cpu_architecture" {
  description = "X86_64 or ARM64, as the image was built."
  type        = string
  default     = "X86_64"
}

variable "min_instances" {
  description = "Fewest instances."
  type        = number
  default     = 2
}

variable "max_instances" {
  description = "Most instances."
  type        = number
  default     = 10
}

variable "requests_per_instance" {
  description = "How many requests a minute one instance shall get before another is started."
  type        = number
  default     = 600
}

variable "total_timeout_seconds" {
  description = "DIFY_TOTAL_TIMEOUT: how long an answer may take; the load balancer waits longer."
  type        = number
  default     = 1800

  validation {
    condition     = var.total_timeout_seconds >= 60 && var.total_timeout_seconds <= 3900
    error_message = "60 to 3900 seconds, since a load balancer waits no longer than 4000."
  }
}

variable "log_retention_days" {
  description = "How long logs are kept."
  type        = number
  default     = 365
}

variable "tags" {
  description = "Tags of all resources."
  type        = map(string)
  default     = {}
}

# `terraform test`, without an account: what AWS would answer is made up.

mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }

  mock_data "aws_region" {
    defaults = { name = "eu-west-1" }
  }

  mock_data "aws_subnet" {
    defaults = { cidr_block = "10.0.1.0/24" }
  }

  mock_resource "aws_lb" {
    defaults = {
      arn        = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/opendify/1"
      arn_suffix = "app/opendify/1"
    }
  }

  mock_resource "aws_lb_target_group" {
    defaults = {
      arn        = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/opendify/2"
      arn_suffix = "targetgroup/opendify/2"
    }
  }

  mock_resource "aws_lb_listener" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener/app/opendify/1/3" }
  }

  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/opendify" }
  }

  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:eu-west-1:123456789012:log-group:/ecs/opendify" }
  }

  mock_resource "aws_secretsmanager_secret" {
    defaults = { arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:opendify/conversation-store-url" }
  }

  mock_resource "aws_elasticache_replication_group" {
    defaults = { primary_endpoint_address = "primary.opendify.cache.amazonaws.com" }
  }

  mock_resource "aws_ecs_task_definition" {
    defaults = { arn = "arn:aws:ecs:eu-west-1:123456789012:task-definition/opendify:1" }
  }
}

variables {
  image              = "registry.example/opendify:1.0.0"
  dify_api_base      = "https://dify.example.com/v1"
  vpc_id             = "vpc-1"
  public_subnet_ids  = ["subnet-public-a", "subnet-public-b"]
  private_subnet_ids = ["subnet-private-a", "subnet-private-b"]
  certificate_arn    = "arn:aws:acm:eu-west-1:123456789012:certificate/1"
  redis_auth_token   = "0123456789abcdefghijklmnopqrstuv"
  secret_arns = {
    MODEL_CONFIG  = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:models"
    API_KEYS      = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:keys"
    ADMIN_API_KEY = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:admin"
  }
}

run "by_default_it_is_safe_and_cuts_no_stream" {
  assert {
    condition     = aws_lb.this.idle_timeout > var.total_timeout_seconds
    error_message = "The load balancer must wait longer than an answer may take."
  }

  assert {
    condition     = tonumber(local.settings.GUNICORN_KEEPALIVE) > aws_lb.this.idle_timeout
    error_message = "The service must keep idle connections longer than the load balancer does."
  }

  assert {
    condition     = local.stop_timeout_seconds > local.graceful_timeout_seconds && local.stop_timeout_seconds <= 120
    error_message = "An instance must have time to end its answers, within what Fargate grants."
  }

  assert {
    condition     = tonumber(aws_lb_target_group.this.deregistration_delay) >= 60
    error_message = "An instance that goes must have time before TERM."
  }

  assert {
    condition     = alltrue([for each in aws_lb_target_group.this.stickiness : !each.enabled])
    error_message = "With a shared store nobody needs to come back to the same instance."
  }

  assert {
    condition     = aws_lb_listener.https.ssl_policy == "ELBSecurityPolicy-TLS13-1-2-2021-06"
    error_message = "TLS 1.2 at least."
  }

  assert {
    condition     = aws_lb_listener.http.default_action[0].redirect[0].status_code == "HTTP_301"
    error_message = "Port 80 serves nothing but a redirect."
  }

  assert {
    condition     = alltrue([for rule in aws_vpc_security_group_ingress_rule.https : rule.from_port == 443])
    error_message = "Clients come to 443."
  }

  assert {
    condition     = aws_vpc_security_group_ingress_rule.service_from_load_balancer.referenced_security_group_id == aws_security_group.load_balancer.id
    error_message = "Instances are asked by the load balancer alone."
  }

  assert {
    condition     = aws_vpc_security_group_ingress_rule.redis_from_service.referenced_security_group_id == aws_security_group.service.id
    error_message = "Redis is asked by instances alone."
  }

  assert {
    condition     = length(setintersection(keys(local.settings), keys(local.secret_arns))) == 0
    error_message = "What is secret is not among the variables."
  }

  assert {
    condition = toset([for each in jsondecode(aws_ecs_task_definition.this.container_definitions)[0].secrets : each.name]) == toset([
      "MODEL_CONFIG", "API_KEYS", "ADMIN_API_KEY", "CONVERSATION_STORE_URL",
    ])
    error_message = "The instance gets its secrets from Secrets Manager."
  }

  assert {
    condition     = !strcontains(aws_ecs_task_definition.this.container_definitions, var.redis_auth_token)
    error_message = "The password is not in the task definition."
  }

  assert {
    condition     = startswith(aws_secretsmanager_secret_version.store_url.secret_string, "rediss://:")
    error_message = "Redis is asked over TLS, with a password."
  }

  assert {
    condition = alltrue([
      for statement in jsondecode(aws_iam_role_policy.start.policy).Statement :
      !contains(statement.Resource, "*") && alltrue([for action in statement.Action : !strcontains(action, "*")])
    ])
    error_message = "No star, neither among actions nor among resources."
  }

  assert {
    condition     = aws_ecs_service.this.network_configuration[0].assign_public_ip == false
    error_message = "Instances have no address of their own in the world."
  }

  assert {
    condition     = aws_ecs_service.this.deployment_minimum_healthy_percent == 100
    error_message = "No instance goes before its successor is healthy."
  }

  assert {
    condition     = aws_ecs_service.this.deployment_circuit_breaker[0].rollback
    error_message = "A version that never gets healthy is taken back."
  }

  assert {
    condition     = aws_lb_target_group.this.health_check[0].path == "/health/live"
    error_message = "New instances do not mend a store that is away."
  }
}

run "what_is_asked_for_is_added" {
  variables {
    image                = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/opendify:1.0.0"
    image_repository_arn = "arn:aws:ecr:eu-west-1:123456789012:repository/opendify"
    settings             = { LOG_LEVEL = "debug", GUNICORN_WORKERS = "2" }
    kms_key_arn          = "arn:aws:kms:eu-west-1:123456789012:key/1"
  }

  assert {
    condition = toset([for each in jsondecode(aws_iam_role_policy.start.policy).Statement : each.Sid]) == toset([
      "Secrets", "Logs", "Decrypt", "Image", "Registry",
    ])
    error_message = "The image and the key, and nothing else."
  }

  assert {
    condition = alltrue([
      for statement in jsondecode(aws_iam_role_policy.start.policy).Statement :
      statement.Sid == "Registry" || !contains(statement.Resource, "*")
    ])
    error_message = "Only the registry's own login knows no resource."
  }

  assert {
    condition     = local.settings.LOG_LEVEL == "debug" && local.settings.SERVER_PORT == "5000"
    error_message = "Settings are added to those that the module needs."
  }
}

run "instances_need_common_keys" {
  command = plan

  variables {
    secret_arns = { MODEL_CONFIG = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:models" }
  }

  expect_failures = [var.secret_arns]
}

run "an_image_that_moves_is_refused" {
  command = plan

  variables {
    image = "registry.example/opendify:latest"
  }

  expect_failures = [var.image]
}

run "an_answer_may_not_outlast_what_a_load_balancer_waits" {
  command = plan

  variables {
    total_timeout_seconds = 4000
  }

  expect_failures = [var.total_timeout_seconds]
}

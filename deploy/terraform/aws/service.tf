data "aws_region" "current" {}

data "aws_subnet" "public" {
  for_each = toset(var.public_subnet_ids)

  id = each.value
}

locals {
  port = 5000
  # Fargate kills after 120 seconds at the latest.
  stop_timeout_seconds     = 120
  graceful_timeout_seconds = 105

  settings = merge(
    {
      ENVIRONMENT               = "production"
      SERVER_HOST               = "0.0.0.0"
      SERVER_PORT               = tostring(local.port)
      LOG_FORMAT                = "json"
      DIFY_API_BASE             = var.dify_api_base
      DIFY_TOTAL_TIMEOUT        = tostring(var.total_timeout_seconds)
      GUNICORN_GRACEFUL_TIMEOUT = tostring(local.graceful_timeout_seconds)
      # Longer than the load balancer's, so that no request meets a connection that is being closed.
      GUNICORN_KEEPALIVE = tostring(local.idle_timeout_seconds + 15)
      TRUSTED_PROXIES    = join(",", sort([for subnet in data.aws_subnet.public : subnet.cidr_block]))
    },
    var.settings,
  )
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/ecs/${var.name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
  tags              = var.tags
}

resource "aws_ecs_cluster" "this" {
  name = var.name
  tags = var.tags

  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

resource "aws_ecs_task_definition" "this" {
  family                   = var.name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.cpu
  memory                   = var.memory
  execution_role_arn       = aws_iam_role.start.arn
  task_role_arn            = aws_iam_role.task.arn
  tags                     = var.tags

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.cpu_architecture
  }

  container_definitions = jsonencode([{
    name         = "opendify"
    image        = var.image
    essential    = true
    user         = "10001:10001"
    stopTimeout  = local.stop_timeout_seconds
    portMappings = [{ containerPort = local.port, protocol = "tcp" }]
    environment  = [for name, value in local.settings : { name = name, value = value }]
    secrets      = [for name, arn in local.secret_arns : { name = name, valueFrom = arn }]
    # Fargate's volumes belong to root, so that /app/data must be the image's own.
    readonlyRootFilesystem = false
    linuxParameters        = { initProcessEnabled = false, capabilities = { drop = ["ALL"] } }
    ulimits                = [{ name = "nofile", softLimit = 65536, hardLimit = 65536 }]
    healthCheck = {
      command     = ["CMD", "python", "-m", "opendify.healthcheck", "http://127.0.0.1:${local.port}/health/live"]
      interval    = 30
      timeout     = 10
      retries     = 3
      startPeriod = 30
    }
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.this.name
        awslogs-region        = data.aws_region.current.name
        awslogs-stream-prefix = "opendify"
        # A log that is full must not stop an answer.
        mode            = "non-blocking"
        max-buffer-size = "25m"
      }
    }
  }])
}

resource "aws_ecs_service" "this" {
  name                               = var.name
  cluster                            = aws_ecs_cluster.this.id
  task_definition                    = aws_ecs_task_definition.this.arn
  launch_type                        = "FARGATE"
  desired_count                      = var.min_instances
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  health_check_grace_period_seconds  = 60
  availability_zone_rebalancing      = "ENABLED"
  propagate_tags                     = "SERVICE"
  enable_execute_command             = false
  tags                               = var.tags

  # A version that never gets healthy is taken back.
  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = var.private_subnet_ids
    security_groups  = [aws_security_group.service.id]
    assign_public_ip = false
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.this.arn
    container_name   = "opendify"
    container_port   = local.port
  }

  # The autoscaler decides.
  lifecycle {
    ignore_changes = [desired_count]
  }

  depends_on = [
    aws_iam_role_policy.start,
    aws_lb_listener.https,
    aws_secretsmanager_secret_version.store_url,
  ]
}

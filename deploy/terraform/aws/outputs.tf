output "load_balancer_dns_name" {
  description = "What the name of the certificate points at."
  value       = aws_lb.this.dns_name
}

output "load_balancer_zone_id" {
  description = "For an alias record of Route 53."
  value       = aws_lb.this.zone_id
}

output "service_security_group_id" {
  description = "For Prometheus and others that ask instances themselves."
  value       = aws_security_group.service.id
}

output "log_group_name" {
  description = "Where the logs are."
  value       = aws_cloudwatch_log_group.this.name
}

ARG PYTHON_IMAGE=python:3.12-slim

FROM ${PYTHON_IMAGE} AS build
# The base image's pip installs into the environment, which then holds none of its own.
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_PYTHON=/opt/venv/bin/python
RUN python -m venv --without-pip /opt/venv
WORKDIR /app
COPY requirements.txt ./
RUN pip install --require-hashes --requirement requirements.txt
COPY pyproject.toml README.md LICENSE main.py gunicorn_config.py start_production.sh start_development.sh ./
COPY scripts/ scripts/
COPY opendify/ opendify/
# Compiled here because the user that runs it cannot write beside the sources.
RUN pip install --no-deps --editable . \
    && /opt/venv/bin/python -m compileall -q opendify main.py gunicorn_config.py

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="OpenDify" \
      org.opencontainers.image.description="Makes any Dify app look like an OpenAI model" \
      org.opencontainers.image.source="https://github.com/opendify/opendify" \
      org.opencontainers.image.licenses="MIT"
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    OPENDIFY_ENVIRONMENT_READY=1 \
    ENVIRONMENT=production \
    SERVER_HOST=0.0.0.0 \
    SERVER_PORT=5000 \
    DATA_DIR=/app/data
RUN groupadd --gid 10001 opendify \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /app/data opendify
WORKDIR /app
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
# A named volume takes over the owner of the folder that it covers.
RUN install --directory --owner 10001 --group 10001 /app/data /app/logs
USER 10001:10001
EXPOSE 5000
HEALTHCHECK --interval=30s --timeout=10s --start-period=20s --retries=3 \
    CMD ["sh", "-c", "exec python -m opendify.healthcheck http://127.0.0.1:${SERVER_PORT}${URL_PREFIX:-}/health/live"]
ENTRYPOINT ["./scripts/entrypoint.sh"]
CMD ["./start_production.sh"]

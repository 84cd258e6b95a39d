# syntax=docker/dockerfile:1
# The environment is built in one stage and copied to another, which has neither pip's cache nor a compiler.
FROM python:3.11.13-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python -m venv /opt/fieldlog
COPY pyproject.toml README.md LICENSE ./
COPY domain domain
COPY commands commands
COPY projections projections
COPY infra infra
COPY write_api write_api
COPY read_api read_api
RUN /opt/fieldlog/bin/pip install .

FROM python:3.11.13-slim-bookworm
RUN groupadd --gid 10001 fieldlog && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin fieldlog
RUN install -d -o 10001 -g 10001 /var/lib/fieldlog/objects
COPY --from=build /opt/fieldlog /opt/fieldlog
ENV PATH=/opt/fieldlog/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 FIELDLOG_HOST=0.0.0.0
USER 10001:10001
ENTRYPOINT ["fieldlog"]
CMD ["--help"]

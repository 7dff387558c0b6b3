# One image for both ends: the daemon (`run`, what it does by itself) and the other end (`receive DIR`).
# What is installed stands in the two locks, with hashes; `make lock` renews them. The base is an argument: a release
# names one by its digest (docs/DEPLOYMENT.md says why the default is a tag), and a local image of the same kind can
# stand in for it.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
RUN python3 -m venv /opt/build && python3 -m venv --without-pip /opt/venv
WORKDIR /src
COPY requirements.lock requirements-build.lock ./
# Where packages are not to be had directly, pip is told how: --secret id=pip.conf,src=... and id=ca.pem,src=...
# Secrets stay out of the image, and without them nothing is mounted. nkeys comes as source only.
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca.pem \
    /opt/build/bin/pip install --no-cache-dir --no-deps --require-hashes --only-binary=:all: \
        --requirement requirements-build.lock && \
    /opt/build/bin/pip wheel --no-cache-dir --no-deps --require-hashes --only-binary=:all: --no-binary=nkeys \
        --no-build-isolation --wheel-dir /wheels --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY services services
RUN /opt/build/bin/pip wheel --no-deps --no-index --no-build-isolation --wheel-dir /wheels . && \
    /opt/build/bin/pip --python /opt/venv/bin/python3 install --no-deps --no-index --no-compile /wheels/*.whl && \
    /opt/venv/bin/python3 -m compileall -q --invalidation-mode unchecked-hash /opt/venv/lib && \
    install -d -o 10001 -g 10001 -m 0750 /agentforge/replay /agentforge/ledger /agentforge/received

FROM ${BASE}
ARG BASE
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="syncdaemon" \
      org.opencontainers.image.description="Store-and-forward of evidence files into NATS JetStream, exactly once" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/venv /opt/venv
COPY --from=build /agentforge /agentforge
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SYNC_REPLAY_DIR=/agentforge/replay \
    SYNC_LEDGER_DIR=/agentforge/ledger \
    SYNC_HTTP_ADDR=0.0.0.0:8080
WORKDIR /agentforge
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 CMD ["python3", "-c", "import http.client, os; c = http.client.HTTPConnection(os.environ['SYNC_HTTP_ADDR'], timeout=3); c.request('GET', '/livez'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["syncdaemon"]
CMD ["run"]

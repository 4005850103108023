# Cairn in a container: one process with the API, the workers and the embedded indexes. See deploy/README.md.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin cairn

FROM debian:bookworm-slim
# CA certificates for outgoing requests; curl for the health check; tesseract for text recognition, which `ocr` switches on.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates curl tesseract-ocr \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --create-home --home-dir /var/lib/cairn cairn \
    && install -d -o cairn -g cairn -m 0700 /var/lib/cairn/data /var/lib/cairn/models /var/lib/cairn/backups
COPY --from=build /src/target/release/cairn /usr/local/bin/cairn
USER 10001
WORKDIR /var/lib/cairn
# Inside a container, the address has to be reachable from outside of it; publish the port on loopback, behind a proxy with TLS.
ENV CAIRN_LISTEN=0.0.0.0:7700 \
    CAIRN_ALLOW_REMOTE=true \
    CAIRN_DATA_DIR=/var/lib/cairn/data \
    CAIRN_MODELS_DIR=/var/lib/cairn/models
# Two volumes: documents and indexes, which are backed up, and models, which can be downloaded again.
VOLUME ["/var/lib/cairn/data", "/var/lib/cairn/models"]
EXPOSE 7700
HEALTHCHECK --interval=30s --timeout=5s --start-period=180s --retries=3 \
    CMD ["curl", "--fail", "--silent", "--show-error", "http://127.0.0.1:7700/healthz"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["cairn"]
CMD ["serve"]

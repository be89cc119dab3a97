# One image for all programs. The command selects the program: worker, ingest, deadletter
# or demo serve.

# confluent-kafka-go contains librdkafka as a C library that needs glibc. So the build
# uses cgo, and both stages use the same Debian release.
FROM golang:1.26.8-bookworm AS build
WORKDIR /src
# Modules are downloaded before the source is copied, so that a change of the source does
# not download them again.
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=1 go build -trimpath -ldflags "-s -w" -o /out/ ./cmd/worker ./cmd/ingest ./cmd/deadletter ./cmd/demo

FROM debian:bookworm-slim
# The health checks use curl to request /readyz.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates curl \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --home-dir /var/lib/genesys-fanout --shell /usr/sbin/nologin fanout \
    # A new named volume gets the owner of the directory that it is first mounted on.
    && install --directory --owner=fanout --group=fanout --mode=0700 /var/lib/genesys-fanout /var/lib/genesys-fanout/dead-letters
COPY --from=build /out/worker /out/ingest /out/deadletter /out/demo /usr/local/bin/
USER 10001:10001
WORKDIR /var/lib/genesys-fanout
# The metrics ports of worker and ingest.
EXPOSE 9464 9465
CMD ["worker"]

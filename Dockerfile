# One image for worker, ingest and demo. The command chooses: worker, ingest, demo serve.

# librdkafka comes as a C library for glibc, so cgo here and Debian of the same
# release below.
FROM golang:1.26.8-bookworm AS build
WORKDIR /src
# The modules first: a change of the code then downloads nothing again.
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=1 go build -trimpath -ldflags "-s -w" -o /out/ ./cmd/worker ./cmd/ingest ./cmd/deadletter ./cmd/demo

FROM debian:bookworm-slim
# curl asks /readyz for the health checks.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates curl \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --home-dir /var/lib/genesys-fanout --shell /usr/sbin/nologin fanout \
    # A named volume takes its owner from the directory it is first mounted on.
    && install --directory --owner=fanout --group=fanout --mode=0700 /var/lib/genesys-fanout /var/lib/genesys-fanout/dead-letters
COPY --from=build /out/worker /out/ingest /out/deadletter /out/demo /usr/local/bin/
USER 10001:10001
WORKDIR /var/lib/genesys-fanout
# worker and ingest
EXPOSE 9464 9465
CMD ["worker"]

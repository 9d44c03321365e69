# The operator: docker build -f dist/operator.Dockerfile -t kaos-operator .
# `cargo xtask images` makes the same from a local build, without Docker.
FROM docker.io/library/rust:1.95-bookworm AS build
WORKDIR /source
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/source/target \
    cargo xtask cargo build --release --locked --package kaos-operator \
 && install -D --strip target/release/kaos-operator /out/usr/bin/kaos-operator

FROM gcr.io/distroless/cc-debian12
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="kaos-operator" \
      org.opencontainers.image.description="Runs KAOS's Agents, MCPServers and ModelAPIs on Kubernetes" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out /
USER 65532
ENTRYPOINT ["kaos-operator"]

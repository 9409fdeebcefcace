# docker build -t kedge .
#
# The tags of the base images float on purpose: each build gets the security updates of .NET and of the system. For builds
# that can be repeated bit by bit, give both by digest: --build-arg SDK=mcr.microsoft.com/dotnet/sdk@sha256:...
ARG SDK=mcr.microsoft.com/dotnet/sdk:10.0
ARG RUNTIME=mcr.microsoft.com/dotnet/aspnet:10.0

FROM ${SDK} AS build
WORKDIR /src
COPY . .
# Packages are exactly those of the lock files, with their hashes.
RUN dotnet restore Kedge.Host -r linux-x64 --locked-mode
RUN dotnet publish Kedge.Host -c Release -r linux-x64 --no-restore -o /app

FROM ${RUNTIME}
COPY --from=build /app /app
USER $APP_UID
# HTTPS, gRPC over TLS, debug
EXPOSE 8443 8444 8080
ENTRYPOINT ["/app/kedge"]

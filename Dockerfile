# docker build -t kedge .
FROM mcr.microsoft.com/dotnet/sdk:10.0 AS build
WORKDIR /src
COPY . .
RUN dotnet publish Kedge.Host -c Release -r linux-x64 -o /app

FROM mcr.microsoft.com/dotnet/aspnet:10.0
COPY --from=build /app /app
USER $APP_UID
# HTTPS, gRPC over TLS, debug
EXPOSE 8443 8444 8080
ENTRYPOINT ["/app/kedge"]

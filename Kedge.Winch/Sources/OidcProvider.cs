using System.Net.Http.Headers;
using System.Net.Security;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json.Nodes;
using Kedge.Client.Domain.Decoded;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Protocols;
using Microsoft.IdentityModel.Protocols.OpenIdConnect;
using Microsoft.IdentityModel.Tokens;

namespace Kedge.Winch.Sources;

/// <summary>An error response of a provider (RFC 6749, 5.2).</summary>
internal sealed class ProviderException(string error, string description)
    : Exception(description.Length > 0 ? $"{error}: {description}" : error)
{
    public string Error { get; } = error;
}

/// <summary>One OpenID Connect provider. Contacted on first use; its metadata is cached and refreshed.</summary>
internal sealed class OidcProvider : IDisposable
{
    private readonly Oidc _settings;
    private readonly HttpClient _http;
    private readonly ConfigurationManager<OpenIdConnectConfiguration> _metadata;
    private readonly JsonWebTokenHandler _tokens = new() { MapInboundClaims = false };

    /// <param name="settings">The settings of the source.</param>
    /// <param name="timeout">The time limit for one response.</param>
    public OidcProvider(Oidc settings, TimeSpan timeout)
    {
        _settings = settings;
        var handler = new SocketsHttpHandler { UseProxy = false, AllowAutoRedirect = false, UseCookies = false };
        if (!settings.CaFiles.IsEmpty)
        {
            var roots = new X509Certificate2Collection();
            foreach (var file in settings.CaFiles)
            {
                roots.ImportFromPemFile(file);
            }
            var policy = new X509ChainPolicy
            {
                TrustMode = X509ChainTrustMode.CustomRootTrust,
                RevocationMode = X509RevocationMode.NoCheck,
            };
            policy.CustomTrustStore.AddRange(roots);
            handler.SslOptions = new SslClientAuthenticationOptions { CertificateChainPolicy = policy };
        }
        _http = new(handler) { Timeout = timeout, MaxResponseContentBufferSize = 1024 * 1024 };
        var documents = new HttpDocumentRetriever(_http)
        {
            RequireHttps = settings.Provider.StartsWith("https:", StringComparison.OrdinalIgnoreCase),
        };
        _metadata = new(
            settings.Provider.TrimEnd('/') + "/.well-known/openid-configuration",
            new OpenIdConnectConfigurationRetriever(),
            documents);
    }

    /// <summary>The URL at which a user logs in.</summary>
    public async Task<Uri> AuthorizeUrlAsync(
        string redirectUri,
        string state,
        string challenge,
        string nonce,
        CancellationToken cancel)
    {
        var metadata = await MetadataAsync(cancel);
        var parameters = new Dictionary<string, string>
        {
            ["response_type"] = "code",
            ["client_id"] = _settings.ClientId,
            ["redirect_uri"] = redirectUri,
            ["scope"] = Scope,
            ["state"] = state,
            ["nonce"] = nonce,
            ["code_challenge"] = challenge,
            ["code_challenge_method"] = "S256",
        };
        AddExtra(parameters);
        var query = string.Join(
            '&',
            parameters.Select(pair => $"{Uri.EscapeDataString(pair.Key)}={Uri.EscapeDataString(pair.Value)}"));
        var address = metadata.AuthorizationEndpoint;
        return new Uri($"{address}{(address.Contains('?') ? '&' : '?')}{query}");
    }

    public Task<StoredTokens> RedeemAsync(
        string code,
        string redirectUri,
        string verifier,
        string nonce,
        CancellationToken cancel) =>
        TokensAsync(
            new()
            {
                ["grant_type"] = "authorization_code",
                ["code"] = code,
                ["redirect_uri"] = redirectUri,
                ["code_verifier"] = verifier,
            },
            previous: null,
            nonce,
            cancel);

    public Task<StoredTokens> RefreshAsync(StoredTokens previous, CancellationToken cancel) =>
        TokensAsync(
            new() { ["grant_type"] = "refresh_token", ["refresh_token"] = previous.RefreshToken },
            previous,
            nonce: null,
            cancel);

    /// <summary>Begins a login on another device (RFC 8628).</summary>
    public async Task<DeviceLogin> BeginDeviceAsync(CancellationToken cancel)
    {
        var metadata = await MetadataAsync(cancel);
        var endpoint = metadata.DeviceAuthorizationEndpoint;
        if (string.IsNullOrEmpty(endpoint))
        {
            throw new ProviderException("unsupported", "the provider has no device login");
        }
        var parameters = new Dictionary<string, string> { ["scope"] = Scope };
        AddExtra(parameters);
        var answer = await PostAsync(endpoint, parameters, cancel);
        return new(
            Text(answer, "device_code"),
            Text(answer, "user_code"),
            Text(answer, "verification_uri"),
            Text(answer, "verification_uri_complete"),
            TimeSpan.FromSeconds(Number(answer, "interval") ?? 5),
            TimeSpan.FromSeconds(Number(answer, "expires_in") ?? 600));
    }

    /// <summary>Waits until the user has logged in on the other device.</summary>
    public async Task<StoredTokens> FinishDeviceAsync(DeviceLogin login, CancellationToken cancel)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(login.Lifetime);
        for (var interval = login.Interval; ;)
        {
            await Task.Delay(interval, limit.Token);
            try
            {
                return await TokensAsync(
                    new()
                    {
                        ["grant_type"] = "urn:ietf:params:oauth:grant-type:device_code",
                        ["device_code"] = login.DeviceCode,
                    },
                    previous: null,
                    nonce: null,
                    limit.Token);
            }
            catch (ProviderException e) when (e.Error == "authorization_pending")
            {
            }
            catch (ProviderException e) when (e.Error == "slow_down")
            {
                interval += TimeSpan.FromSeconds(5);
            }
        }
    }

    /// <summary>The expiry of an ID token that is genuine; throws otherwise.</summary>
    /// <param name="idToken">The token to verify.</param>
    /// <param name="nonce">The nonce of the login; null = it had none.</param>
    /// <param name="audience">The audience that it must be for.</param>
    /// <param name="cancel">Ends the wait for the provider's keys.</param>
    public async Task<DateTimeOffset> VerifyAsync(
        string idToken, string? nonce, string audience, CancellationToken cancel)
    {
        var metadata = await MetadataAsync(cancel);
        var parameters = new TokenValidationParameters
        {
            ValidIssuer = metadata.Issuer,
            ValidAudience = audience,
            IssuerSigningKeys = metadata.SigningKeys,
            ClockSkew = TimeSpan.FromSeconds(30),
            RequireSignedTokens = true,
            RequireExpirationTime = true,
        };
        var result = await _tokens.ValidateTokenAsync(idToken, parameters);
        if (!result.IsValid && result.Exception is SecurityTokenSignatureKeyNotFoundException)
        {
            _metadata.RequestRefresh();
            parameters.IssuerSigningKeys = (await MetadataAsync(cancel)).SigningKeys;
            result = await _tokens.ValidateTokenAsync(idToken, parameters);
        }
        if (!result.IsValid)
        {
            // The library's message may contain parts of the token.
            throw new ProviderException(
                "invalid_token",
                $"the ID token is not valid ({result.Exception?.GetType().Name})");
        }
        var token = (JsonWebToken)result.SecurityToken;
        if (nonce is not null && (!token.TryGetPayloadValue("nonce", out string? said) || said != nonce))
        {
            throw new ProviderException("invalid_token", "the ID token is of another login");
        }
        return token.ValidTo;
    }

    /// <summary>
    /// The expiry of an ID token that was verified when it was stored. Null if it is not from this provider and for
    /// this client, because the configuration has changed since, or if it is not an ID token at all.
    /// </summary>
    public DateTimeOffset? ExpiryOf(string idToken)
    {
        if (!_tokens.CanReadToken(idToken))
        {
            return null;
        }
        JsonWebToken token;
        try
        {
            token = _tokens.ReadJsonWebToken(idToken);
        }
        catch (ArgumentException)
        {
            return null;
        }
        return token.Issuer.TrimEnd('/') == _settings.Provider.TrimEnd('/')
            && token.Audiences.Contains(_settings.ClientId)
            && token.ValidTo > DateTime.UnixEpoch
                ? new DateTimeOffset(token.ValidTo, TimeSpan.Zero)
                : null;
    }

    /// <summary>The endpoint that issues tokens; the audience of assertions (RFC 7523, 3).</summary>
    public async Task<string> TokenEndpointAsync(CancellationToken cancel) =>
        (await MetadataAsync(cancel)).TokenEndpoint;

    /// <summary>The response of the token endpoint to any grant.</summary>
    public async Task<JsonObject> GrantAsync(Dictionary<string, string> parameters, CancellationToken cancel) =>
        await PostAsync((await MetadataAsync(cancel)).TokenEndpoint, parameters, cancel);

    public void Dispose() => _http.Dispose();

    private string Scope => _settings.Scopes.IsEmpty ? "openid" : string.Join(' ', _settings.Scopes);

    private async Task<OpenIdConnectConfiguration> MetadataAsync(CancellationToken cancel)
    {
        try
        {
            return await _metadata.GetConfigurationAsync(cancel);
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            var cause = e;
            while (cause.InnerException is { } inner)
            {
                cause = inner;
            }
            throw new HttpRequestException($"the provider {_settings.Provider} cannot be reached: {cause.Message}", e);
        }
    }

    private void AddExtra(Dictionary<string, string> parameters)
    {
        if (_settings.Audience.Length > 0)
        {
            parameters["audience"] = _settings.Audience;
        }
        foreach (var (name, value) in _settings.ExtraParams)
        {
            parameters[name] = value;
        }
    }

    private async Task<StoredTokens> TokensAsync(
        Dictionary<string, string> parameters, StoredTokens? previous, string? nonce, CancellationToken cancel)
    {
        var answer = await GrantAsync(parameters, cancel);
        DateTimeOffset? expiry = Number(answer, "expires_in") is { } seconds
            ? DateTimeOffset.UtcNow.AddSeconds(seconds)
            : null;
        var idToken = Text(answer, "id_token");
        if (_settings.Use == OidcToken.IdToken)
        {
            if (idToken.Length == 0)
            {
                throw new ProviderException(
                    "invalid_response",
                    "the provider gave no ID token; is the scope openid there?");
            }
            await VerifyAsync(idToken, nonce, _settings.ClientId, cancel);
        }
        // A provider that does not rotate refresh tokens sends no new one; the old one stays valid.
        var refresh = Text(answer, "refresh_token");
        return new(
            Text(answer, "access_token"),
            expiry,
            refresh.Length > 0 ? refresh : previous?.RefreshToken ?? "",
            idToken);
    }

    private async Task<JsonObject> PostAsync(
        string endpoint,
        Dictionary<string, string> parameters,
        CancellationToken cancel)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, endpoint);
        if (_settings.Secret.Length > 0)
        {
            // RFC 6749, 2.3.1: both parts are form-encoded before they are joined.
            var pair = $"{Uri.EscapeDataString(_settings.ClientId)}:{Uri.EscapeDataString(_settings.Secret)}";
            request.Headers.Authorization = new AuthenticationHeaderValue(
                "Basic",
                Convert.ToBase64String(Encoding.UTF8.GetBytes(pair)));
        }
        parameters["client_id"] = _settings.ClientId;
        request.Content = new FormUrlEncodedContent(parameters);
        request.Headers.Accept.ParseAdd("application/json");
        HttpResponseMessage response;
        try
        {
            response = await _http.SendAsync(request, cancel);
        }
        catch (HttpRequestException e)
        {
            throw new HttpRequestException($"the provider {_settings.Provider} cannot be reached: {e.Message}", e);
        }
        catch (OperationCanceledException e) when (!cancel.IsCancellationRequested)
        {
            throw new HttpRequestException($"the provider {_settings.Provider} does not answer in time", e);
        }
        using (response)
        {
            JsonObject? json = null;
            try
            {
                json = JsonNode.Parse(await response.Content.ReadAsStringAsync(cancel)) as JsonObject;
            }
            catch (System.Text.Json.JsonException)
            {
            }
            if (json is not null && Text(json, "error") is { Length: > 0 } error)
            {
                throw new ProviderException(error, Text(json, "error_description"));
            }
            if (!response.IsSuccessStatusCode)
            {
                throw new HttpRequestException($"the provider {_settings.Provider} answers {(int)response.StatusCode}");
            }
            return json
                ?? throw new ProviderException("invalid_response", "the provider's answer is not a JSON object");
        }
    }

    internal static string Text(JsonObject json, string name) =>
        json[name] is JsonValue value && value.TryGetValue(out string? text) ? text : "";

    private static double? Number(JsonObject json, string name) =>
        json[name] is JsonValue value && value.TryGetValue(out double number) && number is > 0 and < 1e9
            ? number
            : null;
}

/// <summary>A login in progress on another device.</summary>
internal sealed record DeviceLogin(
    string DeviceCode,
    string UserCode,
    string VerificationUri,
    string VerificationUriComplete,
    TimeSpan Interval,
    TimeSpan Lifetime);

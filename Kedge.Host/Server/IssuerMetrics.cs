using System.Diagnostics.Metrics;
using Kedge.Host.Authorization;

namespace Kedge.Host.Server;

/// <summary>The metrics of the issuers of tokens. Their labels are names of the configuration.</summary>
internal static class IssuerMetrics
{
    public static void Register(Meter meter, Authorizer authorizer)
    {
        meter.CreateObservableCounter("kedge_token_verifications_total",
            () => from issuer in authorizer.Counters
                  from entry in issuer.All
                  select new Measurement<long>(entry.Count, issuer.Label, new("result", entry.Result)),
            description: "Tokens that callers sent where one is needed, by issuer and by what came of them.");
        meter.CreateObservableGauge("kedge_issuer_keys_age_seconds",
            () => from issuer in authorizer.Issuers
                  let age = issuer.Tokens?.Provider.Age
                  where age is not null
                  select new Measurement<double>(age.Value.TotalSeconds, issuer.Counters.Label),
            description: "How long ago the keys of an issuer were fetched successfully.");
    }
}

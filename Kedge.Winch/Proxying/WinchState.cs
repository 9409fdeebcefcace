using Kedge.Client;
using Kedge.Client.Domain;
using Kedge.Winch.Sources;

namespace Kedge.Winch.Proxying;

/// <summary>The state that decides about requests. Replaced as a whole when the files change.</summary>
/// <param name="Files">The loaded, valid files.</param>
/// <param name="Sources">The sources, by name.</param>
/// <param name="Routes">Routes with their credentials.</param>
/// <param name="Pac">The PAC's text.</param>
internal sealed record WinchState(
    ClientFiles Files, IReadOnlyDictionary<string, ITokenSource> Sources, FileMapper Routes, string Pac)
{
    public Mapper Mapper => Files.Mapper;

    /// <summary>The sources that a user can log in to.</summary>
    public IEnumerable<OidcSource> Logins => Sources.Values.OfType<OidcSource>();
}

/// <summary>The active state.</summary>
internal sealed class WinchStates(WinchState first)
{
    private WinchState _current = first;

    public WinchState Current
    {
        get => Volatile.Read(ref _current);
        set => Volatile.Write(ref _current, value);
    }

    /// <summary>The errors of changed files that were rejected; empty = the files are active.</summary>
    public IReadOnlyList<string> Rejected { get; set; } = [];
}

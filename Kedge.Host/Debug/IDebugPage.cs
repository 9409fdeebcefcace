namespace Kedge.Host.Debug;

/// <summary>A page of the debug port.</summary>
public interface IDebugPage
{
    /// <summary>Where it is: an exact path.</summary>
    string Path { get; }

    /// <summary>Whether everyone may see it, also when debug pages need authorization.</summary>
    bool IsOpen => false;

    /// <summary>Answers a GET or HEAD request.</summary>
    Task AnswerAsync(HttpContext context);
}

namespace Kedge.Host.Debug;

/// <summary>A page of the debug port.</summary>
public interface IDebugPage
{
    /// <summary>The exact path of the page.</summary>
    string Path { get; }

    /// <summary>Whether everyone may see the page, even when debug pages require authorization.</summary>
    bool IsOpen => false;

    /// <summary>Responds to a GET or HEAD request.</summary>
    Task AnswerAsync(HttpContext context);
}

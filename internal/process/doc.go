// Package process holds what every process of this project shares: settings
// from flags and environment, logs, metrics, health, the Temporal connection,
// signals and exit statuses.
//
// The package refuses to start anything with a setting it does not understand:
// every wrong one is reported at once, by name and with its cure. It never
// prints a secret, and it knows nothing of events or deliveries.
//
// The parts in the order a process uses them: Main turns signals into a context
// and errors into an exit status, Parse reads the settings, Report prints them
// for --check, Logger, NewRegistry, NewHealth and Listen make the process
// observable, TemporalOptions and Dial connect it, EnsureSearchAttributes
// prepares the namespace and Watch keeps readiness true. NewProbe asks Temporal on
// behalf of --preflight, and changes nothing.
package process

// Package process contains what every process of this project shares: settings from flags and
// environment, logs, metrics, health, the connection to Temporal, signals and exit statuses.
//
// The package does not start anything with a setting that it does not understand. It reports
// all wrong settings at once, each by its name and with its cure. It never prints a secret,
// and it knows nothing of events or deliveries.
//
// The files, in the order in which a process uses them:
//
//   - main.go: Main turns signals into a context, and an error into an exit status.
//   - settings.go: Parse reads the settings of a process. command.go: ParseCommand reads those
//     of a program with commands. env.go reads the environment, secrets.go the secrets,
//     duration.go durations with days. problems.go collects and prints wrong settings.
//     servicelinks.go recognises variables of Kubernetes that are not settings.
//   - temporaloptions.go: ParseTemporal reads the settings of the connection to Temporal.
//   - report.go: Report prints the settings for --check. version.go prints --version.
//   - log.go: Logger, and warnings at the start. standardlog.go: CaptureStandardLog, for lines that net/http logs.
//   - http.go: Listen serves /metrics, /healthz and /readyz. health.go: Health contains the
//     checks of /readyz. metrics.go: TemporalMetrics.
//   - dial.go: Dial connects to Temporal. temporalerrors.go: the errors that say how Temporal
//     answered.
//   - searchattributes.go: EnsureSearchAttributes registers them in the namespace.
//   - namespacemonitor.go: WatchTemporal keeps the check temporal of /readyz up to date.
//     polls.go: PollMonitor does the same for the check queues.
//   - temporalprobe.go: TemporalProbe asks Temporal for --preflight and changes nothing.
//   - shutdown.go: RunAndShutdown gives a process a limited time to end.
package process

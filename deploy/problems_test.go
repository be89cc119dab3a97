package deploy_test

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
)

// problems returns the mistakes in a project, as "service: mistake".
func problems(project *types.Project) []string {
	list := versionProblems(project)
	for _, name := range project.ServiceNames() {
		service := project.Services[name]
		for _, check := range []func(*types.Project, types.ServiceConfig) []string{
			imageProblems, networkProblems, settingProblems, mountProblems, fileProblems,
			healthProblems, dependencyProblems, commandProblems, processProblems, retentionProblems,
		} {
			for _, problem := range check(project, service) {
				list = append(list, name+": "+problem)
			}
		}
	}
	return list
}

// exactVersion matches a tag of at least two numbers. A tag such as postgres:17 moves to
// another image with each release.
var exactVersion = regexp.MustCompile(`:\d+(\.\d+)+[0-9a-z.-]*$`)

func imageProblems(_ *types.Project, service types.ServiceConfig) []string {
	switch {
	case service.Build != nil:
		return nil // TestDockerfile_BasesProgramsAndUser checks its base images
	case !exactVersion.MatchString(service.Image):
		return []string{fmt.Sprintf("image %s must have a tag with an exact version", service.Image)}
	case strings.HasPrefix(service.Image, "temporalio/auto-setup:"):
		return []string{fmt.Sprintf("image %s is deprecated; use temporalio/server", service.Image)}
	}
	return nil
}

// versionProblems compares the version of the server with that of the tools that create
// its schema.
func versionProblems(project *types.Project) []string {
	const server = "temporalio/server"
	versions := map[string]string{}
	for _, service := range project.Services {
		image, version, _ := strings.Cut(service.Image, ":")
		versions[image] = version
	}
	const tools = "temporalio/admin-tools"
	if versions[server] != "" && versions[tools] != versions[server] {
		return []string{fmt.Sprintf("%s has version %s, but %s has %s", tools, versions[tools], server, versions[server])}
	}
	return nil
}

func networkProblems(_ *types.Project, service types.ServiceConfig) []string {
	var list []string
	if service.NetworkMode == "host" {
		list = append(list, "uses the host's network")
	}
	for _, port := range service.Ports {
		if port.HostIP != "127.0.0.1" {
			list = append(list, fmt.Sprintf("port %s is published on %q, but must be on 127.0.0.1", port.Published, port.HostIP))
		}
	}
	return list
}

// The environment variables of the processes, as --help lists them.
var (
	sharedSettings = []string{
		"TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE", "TEMPORAL_API_KEY",
		"FANOUT_TARGETS", "FANOUT_TASK_QUEUE", "FANOUT_HTTP_ADDR", "FANOUT_LOG_LEVEL", "FANOUT_LOG_FORMAT",
	}
	settingsOf = map[string][]string{
		"worker": slices.Concat(sharedSettings, []string{"FANOUT_DEAD_LETTERS"}),
		"ingest": slices.Concat(sharedSettings, []string{
			"FANOUT_EAGER_START", "FANOUT_MAX_STARTS", "FANOUT_EVENT_ID",
			"GENESYS_CLIENT_ID", "GENESYS_CLIENT_SECRET", "GENESYS_API_URL", "GENESYS_TOKEN_URL", "GENESYS_EVENTBRIDGE_PATH", "GENESYS_OAUTH_SCOPE", "GENESYS_INTEGRATION_CHECK",
			"KAFKA_BOOTSTRAP_SERVERS", "KAFKA_SECURITY_PROTOCOL", "KAFKA_SASL_MECHANISM", "KAFKA_SASL_USERNAME", "KAFKA_SASL_PASSWORD",
			"KAFKA_SSL_CA_LOCATION", "KAFKA_TOPIC", "KAFKA_GROUP_ID", "KAFKA_AUTO_OFFSET_RESET", "KAFKA_OPTIONS",
		}),
	}
)

func settingProblems(_ *types.Project, service types.ServiceConfig) []string {
	known, ours := settingsOf[service.Name]
	if !ours {
		return nil
	}
	var list []string
	for name := range service.Environment {
		if !slices.Contains(known, name) {
			list = append(list, fmt.Sprintf("%s is not a setting of %s", name, service.Name))
		}
	}
	return list
}

func mountProblems(project *types.Project, service types.ServiceConfig) []string {
	var list []string
	for _, volume := range service.Volumes {
		if volume.Type != types.VolumeTypeBind {
			continue
		}
		source := relative(project, volume.Source)
		if _, err := os.Stat(volume.Source); err != nil {
			list = append(list, fmt.Sprintf("mount %s: %s does not exist", volume.Target, source))
		}
		if volume.Bind == nil || volume.Bind.CreateHostPath {
			list = append(list, fmt.Sprintf("mount %s: docker would create a missing %s; set create_host_path: false", volume.Target, source))
		}
	}
	return list
}

// fileProblems looks for each file below /etc that a command or a setting names. Such a
// file must be on a mount and exist in the repository.
func fileProblems(project *types.Project, service types.ServiceConfig) []string {
	named := slices.Concat(service.Entrypoint, service.Command)
	for _, value := range service.Environment {
		if value != nil {
			named = append(named, *value)
		}
	}
	var list []string
	for _, file := range named {
		if !strings.HasPrefix(file, "/etc/") {
			continue
		}
		source, mounted := sourceOf(service, file)
		if !mounted {
			list = append(list, file+" is not on a mount")
		} else if _, err := os.Stat(source); err != nil {
			list = append(list, fmt.Sprintf("%s: %s does not exist", file, relative(project, source)))
		}
	}
	return list
}

// sourceOf returns the path on the host of a file in the container. It returns false if
// the file is not on a bind mount.
func sourceOf(service types.ServiceConfig, file string) (string, bool) {
	for _, volume := range service.Volumes {
		if volume.Type == types.VolumeTypeBind && (file == volume.Target || strings.HasPrefix(file, volume.Target+"/")) {
			return filepath.Join(volume.Source, strings.TrimPrefix(file, volume.Target)), true
		}
	}
	return "", false
}

func relative(project *types.Project, file string) string {
	if short, err := filepath.Rel(project.WorkingDir, file); err == nil {
		return short
	}
	return file
}

// restartsForEver reports whether a service runs until it is stopped. The others do
// their work once and end.
func restartsForEver(service types.ServiceConfig) bool {
	return service.Restart == types.RestartPolicyAlways || service.Restart == types.RestartPolicyUnlessStopped
}

// hasHealthCheck reports whether a service has an enabled health check.
func hasHealthCheck(service types.ServiceConfig) bool {
	return service.HealthCheck != nil && !service.HealthCheck.Disable && len(service.HealthCheck.Test) > 1
}

func healthProblems(_ *types.Project, service types.ServiceConfig) []string {
	if !hasHealthCheck(service) {
		if restartsForEver(service) {
			return []string{"restarts for ever but has no health check"}
		}
		return nil
	}
	if _, ours := settingsOf[service.Name]; !ours {
		return nil
	}
	return readinessProblems(service)
}

// readinessProblems checks that the HTTP address of worker or ingest is reachable and is
// the one that the health check requests. By default both listen on loopback, which the
// published port of a container does not reach.
func readinessProblems(service types.ServiceConfig) []string {
	address := service.Environment["FANOUT_HTTP_ADDR"]
	if address == nil || !strings.HasPrefix(*address, "0.0.0.0:") {
		return []string{"FANOUT_HTTP_ADDR must be 0.0.0.0 with a port"}
	}
	port := strings.TrimPrefix(*address, "0.0.0.0:")
	var list []string
	if requested := ":" + port + "/readyz"; !strings.HasSuffix(service.HealthCheck.Test[len(service.HealthCheck.Test)-1], requested) {
		list = append(list, "the health check does not request "+requested)
	}
	if !slices.ContainsFunc(service.Ports, func(published types.ServicePortConfig) bool {
		return strconv.Itoa(int(published.Target)) == port
	}) {
		list = append(list, "the port "+port+" in FANOUT_HTTP_ADDR is not published")
	}
	return list
}

func dependencyProblems(project *types.Project, service types.ServiceConfig) []string {
	var list []string
	for name, dependency := range service.DependsOn {
		awaited, exists := project.Services[name]
		if !exists {
			continue // it has another profile; the loader rejects it if it is required
		}
		switch dependency.Condition {
		case types.ServiceConditionHealthy:
			if !hasHealthCheck(awaited) {
				list = append(list, fmt.Sprintf("waits until %s is healthy, but that has no health check", name))
			}
		case types.ServiceConditionCompletedSuccessfully:
			if restartsForEver(awaited) {
				list = append(list, fmt.Sprintf("waits until %s ends, but that restarts for ever", name))
			}
		default:
			list = append(list, fmt.Sprintf("waits only until %s is started", name))
		}
	}
	return list
}

// programs are the programs that the Dockerfile installs into /usr/local/bin.
var programs = []string{"worker", "ingest", "deadletter", "demo"}

// demoFlags are the flags of demo serve. Each has a value.
var demoFlags = []string{"--genesys-addr", "--targets-addr", "--kafka-bootstrap", "--kafka-username", "--kafka-password"}

// commandProblems checks the program and the flags of a service that runs our image.
func commandProblems(_ *types.Project, service types.ServiceConfig) []string {
	if service.Build == nil {
		return nil
	}
	if len(service.Command) == 0 {
		return []string{"the command is empty"}
	}
	if !slices.Contains(programs, service.Command[0]) {
		return []string{"the image has no program " + service.Command[0]}
	}
	if service.Command[0] != "demo" {
		return nil
	}
	var list, given []string
	for _, word := range service.Command {
		if !strings.HasPrefix(word, "--") {
			continue
		}
		given = append(given, word)
		if !slices.Contains(demoFlags, word) {
			list = append(list, "demo serve has no flag "+word)
		}
	}
	for _, flag := range demoFlags {
		if !slices.Contains(given, flag) {
			list = append(list, "demo serve lacks "+flag)
		}
	}
	return list
}

// stopsWithin is the longest time that a process needs to stop: the default timeout of a
// target, 5 s, and 10 s for everything else.
const stopsWithin = types.Duration(15 * time.Second)

func processProblems(_ *types.Project, service types.ServiceConfig) []string {
	if service.Build == nil {
		return nil
	}
	var list []string
	if service.StopGracePeriod == nil || *service.StopGracePeriod < stopsWithin {
		list = append(list, fmt.Sprintf("stop_grace_period is %s, but must be at least %s", service.StopGracePeriod, stopsWithin))
	}
	directory := service.Environment["FANOUT_DEAD_LETTERS"]
	if service.Name == "worker" && directory != nil && !onVolume(service, *directory) {
		list = append(list, fmt.Sprintf("the dead letters at %s are not on a volume", *directory))
	}
	return list
}

func onVolume(service types.ServiceConfig, directory string) bool {
	return slices.ContainsFunc(service.Volumes, func(volume types.ServiceVolumeConfig) bool {
		return volume.Type == types.VolumeTypeVolume && volume.Source != "" && path.Clean(volume.Target) == path.Clean(directory)
	})
}

func retentionProblems(_ *types.Project, service types.ServiceConfig) []string {
	if retention, set := service.Environment["RETENTION"]; set && *retention != "7d" {
		return []string{fmt.Sprintf("the retention is %s, but must be 7d", *retention)}
	}
	return nil
}

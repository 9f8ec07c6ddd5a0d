/**
 * `millrace completion`: the script with which a shell completes `millrace`. It calls the command itself (`complete.ts`) at every TAB, so
 * that names come from the commands and definitions of the moment.
 */
import type { Terminal } from '../terminal.ts'

export type Shell = 'bash' | 'zsh' | 'fish'

const scripts: Readonly<Record<Shell, string>> = {
  // Bash makes a word of its own of the = in --option=value.
  bash: `_millrace() {
  local line word words=() current="\${COMP_WORDS[COMP_CWORD]}"
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do [[ $word == = ]] || words+=("$word"); done
  [[ $current == = ]] && current=''
  COMPREPLY=()
  while IFS= read -r line; do
    case "$line" in
      :files) compopt -o filenames 2>/dev/null; while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -f -- "$current") ;;
      :folders) compopt -o filenames 2>/dev/null; while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -d -- "$current") ;;
      ?*) COMPREPLY+=("\${line%%$'\\t'*}") ;;
    esac
  done < <(millrace complete -- "\${words[@]}" "$current" 2>/dev/null)
}
complete -F _millrace millrace`,
  zsh: `#compdef millrace
_millrace() {
  local line
  local -a candidates
  for line in "\${(@f)$(millrace complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
    case $line in
      :files) _files ;;
      :folders) _files -/ ;;
      ?*) candidates+=("\${\${line%%$'\\t'*}//:/\\\\:}:\${line#*$'\\t'}") ;;
    esac
  done
  (( $#candidates )) && _describe millrace candidates
}
compdef _millrace millrace`,
  fish: `function __millrace_complete
  set -l words (commandline -opc)
  set -e words[1]
  set -l current (commandline -ct)
  for line in (millrace complete -- $words "$current" 2>/dev/null)
    switch $line
      case ':files'
        __fish_complete_path "$current"
      case ':folders'
        __fish_complete_directories "$current"
      case '*'
        echo $line
    end
  end
end
complete -c millrace -f -a '(__millrace_complete)'`,
}

export function completionCommand(shell: Shell, { out }: Pick<Terminal, 'out'>): void {
  out(scripts[shell])
}

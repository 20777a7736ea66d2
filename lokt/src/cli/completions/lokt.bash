# bash completion for lokt, made by `lokt completions bash`

_lokt() {
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_LINE:0:COMP_POINT} glued='' answer first index
    local -a words=() answers=()

    # Only what is left of the cursor counts.
    while [[ -n $current && $before != *"$current" ]]; do current=${current%?}; done

    # bash takes --on-lost=kill for three words; it is one.
    for ((index = 0; index <= COMP_CWORD; index++)); do
        local word=${COMP_WORDS[index]}
        ((index == COMP_CWORD)) && word=$current
        if ((index > 0)) && [[ $word == '=' || ${COMP_WORDS[index - 1]} == '=' ]] &&
            [[ ${words[${#words[@]} - 1]} == --* ]]; then
            glued=${words[${#words[@]} - 1]}
            [[ $word == '=' ]] && glued+='='
            words[${#words[@]} - 1]+=$word
        else
            glued=''
            words+=("$word")
        fi
    done

    COMPREPLY=()
    # A program that answers with words, not a script that changes the shell: nothing here is evaluated.
    while IFS= read -r answer; do answers+=("$answer"); done < <(command lokt __complete "${words[@]}" 2>/dev/null)
    first=${answers[0]-}

    if [[ $first == 'command '* ]]; then
        _lokt_command "${first#command }"
        return
    fi
    for answer in "${answers[@]:1}"; do
        answer=${answer%%$'\t'*}
        COMPREPLY+=("${answer#"$glued"}")
    done
    # An option's value follows at once.
    if ((${#COMPREPLY[@]} == 1)) && [[ ${COMPREPLY[0]} == *= ]]; then compopt -o nospace 2>/dev/null; fi
}

# Completes the guarded command, which begins at word $1, as if it stood alone.
_lokt_command() {
    if declare -F _comp_command_offset >/dev/null; then
        _comp_command_offset "$1"
    elif declare -F _command_offset >/dev/null; then
        _command_offset "$1"
    elif ((COMP_CWORD == $1)) && [[ ${COMP_WORDS[COMP_CWORD]} != */* ]]; then
        local IFS=$'\n'
        COMPREPLY=($(compgen -c -- "${COMP_WORDS[COMP_CWORD]}"))
    else
        compopt -o default 2>/dev/null
        COMPREPLY=()
    fi
}

complete -F _lokt lokt
